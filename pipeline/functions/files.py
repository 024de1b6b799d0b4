"""What a package with an inference function of its own consists of."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from rasterloom.models.errors import PackageError

_SHIPPED = "[functions]"
"""How the names of scripts begin that come with the vendor's software and are in no package."""


@dataclass(frozen=True)
class FunctionFiles:
    """The files of a package, its description and the script among them."""

    members: Mapping[str, Path | bytes] = field(repr=False)
    """Name in the package, with forward slashes, to the file or to what it holds."""
    emd: Mapping[str, Any] = field(repr=False)
    """The description."""
    emd_name: str
    """Name of the description among the members."""
    script: str
    """Name of the script among the members."""
    source: str
    """What messages call the package."""

    @property
    def class_name(self) -> str:
        """The class that the script must hold: it is called as the file."""
        return PurePosixPath(self.script).stem

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names and contents, in hexadecimal."""
        digest = hashlib.sha256(f"{self.emd_name}\n{self.script}\n".encode())
        for name in sorted(self.members):
            content = self.members[name]
            data = content if isinstance(content, bytes) else content.read_bytes()
            digest.update(f"{name}\n{len(data)}\n".encode())
            digest.update(data)
        return digest.hexdigest()

    def unpack(self, folder: Path) -> Path:
        """Write all files below ``folder``; says where the description then stands."""
        for name, content in self.members.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        return folder / self.emd_name

    def check_trust(self, *, trust: bool) -> None:
        """Refuse the script where it is not trusted. Raises PackageError with what to do."""
        if not trust:
            raise PackageError(
                f"{self.source} is run by its own inference function {self.script}, which is Python code of "
                "its author and can do anything: pass trust=True if you know where the package is from."
            )


def named_script(emd: Mapping[str, Any], *, source: str) -> str | None:
    """The path of the inference function as a description gives it; None where it names none.

    Parameters
    ----------
    emd
        The description.
    source
        What messages call the package.

    Raises
    ------
    PackageError
        If it names a script that is in no package, or something that is no Python file.

    References
    ----------
    Formats 2.2: ``[Functions]System\\...`` are scripts that ship with the vendor's software.
    """
    name = emd.get("InferenceFunction")
    if not isinstance(name, str) or not name.strip():
        return None
    if name.strip().lower().startswith(_SHIPPED):
        raise PackageError(
            f"{source} names the inference function {name}, which ships with other software and is not in "
            "the package: run it there, or save the model with an inference function of its own."
        )
    if not name.strip().lower().endswith(".py"):
        raise PackageError(
            f"{source} names the inference function {name}, and only Python files (.py) can be run: "
            "correct InferenceFunction in its .emd."
        )
    return name.strip()
