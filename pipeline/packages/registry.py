"""The models of a team: packages by name, in a folder or on object storage."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from rasterloom.cluster.places import Place
from rasterloom.models.errors import MissingInputError, OutputError, OutputExistsError, SettingError

VARIABLE = "RASTERLOOM_REGISTRY"
"""Environment variable with the folder or URL of the usual registry."""
_ENDING = ".dlpk"
_NAME = re.compile(r"[\w][\w .+-]{0,127}")
"""Letters, digits and a few marks: safe as a file name and as a key of object storage everywhere."""


@dataclass(frozen=True)
class Registry:
    """A folder of packages, one file for each name.

    A package appears under its name whole or not at all: a folder gets it under another name first and
    renames it, object storage takes it in one piece. Other files in the folder are left alone.
    """

    place: Place

    @classmethod
    def of(cls, registry: "str | Path | Place | Registry | None") -> "Registry":
        """The registry at a folder or URL.

        Parameters
        ----------
        registry
            None takes what the variable ``RASTERLOOM_REGISTRY`` names, else ``rasterloom/models`` in the
            user's data folder. Nothing is made there before the first package is installed.

        Raises
        ------
        SettingError
            If it can be no such place.
        """
        if isinstance(registry, Registry):
            return registry
        if isinstance(registry, Place):
            return cls(registry)
        chosen = str(registry or os.environ.get(VARIABLE) or _user_data() / "rasterloom" / "models")
        return cls(Place.of(chosen if "://" in chosen else Path(chosen).expanduser()))

    def __str__(self) -> str:
        return self.place.url

    def names(self) -> list[str]:
        """Names of the installed models, in alphabetical order."""
        try:
            found = self.place.names()
        except OSError as error:
            raise MissingInputError(f"the registry {self} cannot be listed: {error}.") from error
        return sorted(name.removesuffix(_ENDING) for name in found if name.endswith(_ENDING))

    def holds(self, name: str) -> bool:
        """Whether a model of this name is installed; False for what can be no name."""
        return _NAME.fullmatch(name) is not None and self.place.exists(_file(name))

    def address(self, name: str) -> str:
        """Path or URL of an installed package.

        Raises
        ------
        MissingInputError
            If there is none of this name; the message lists those that are.
        """
        if not self.holds(name):
            known = ", ".join(self.names()) or "nothing"
            raise MissingInputError(f"no model {name!r} is installed in {self}: it holds {known}.")
        return (self.place / _file(name)).url

    def check_free(self, name: str, *, overwrite: bool) -> None:
        """Refuse a name that is taken, unless ``overwrite``, or that can be none."""
        check_name(name)
        if not overwrite and self.holds(name):
            raise OutputExistsError(
                f"a model {name!r} is installed in {self}: choose another name, or use overwrite=True."
            )

    def publish(self, package: Path | bytes, name: str, *, overwrite: bool = False) -> str:
        """Put a ``.dlpk`` file under a name.

        Parameters
        ----------
        package
            The file, or its content.
        overwrite
            Replace a package of this name.

        Returns
        -------
        str
            Path or URL of the package.

        Raises
        ------
        OutputExistsError
            If the name is taken.
        OutputError
            If it cannot be written. What stood under the name still does.
        """
        self.check_free(name, overwrite=overwrite)
        try:
            if isinstance(package, bytes):
                self.place.write(_file(name), package)
            else:
                self.place.upload(_file(name), package)
        except OSError as error:
            raise OutputError(f"the model cannot be installed in {self}: {error}.") from error
        return self.address(name)

    def remove(self, name: str) -> str:
        """Take an installed package away; its path or URL is returned.

        Raises
        ------
        MissingInputError
            If there is none of this name.
        OutputError
            If it cannot be removed.
        """
        address = self.address(name)
        try:
            self.place.remove(_file(name))
        except OSError as error:
            raise OutputError(f"{address} cannot be removed: {error}.") from error
        return address


def check_name(name: str) -> None:
    """Refuse what can be no name in a registry."""
    if _NAME.fullmatch(name) is None or name.endswith((".", " ", _ENDING)):
        raise SettingError(
            f"{name!r} can be no model's name: use up to 128 letters, digits, spaces and the marks . _ + -, "
            "beginning with a letter or a digit and not ending with a point, a space or .dlpk."
        )


def _file(name: str) -> str:
    return f"{name}{_ENDING}"


def _user_data() -> Path:
    """Where programs keep a user's data on this system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
