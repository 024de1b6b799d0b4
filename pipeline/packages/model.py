"""A model package as a thing to install, ask about and take away again."""

import json
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, final

from rasterloom.cluster.background import Job
from rasterloom.cluster.jobs import Progress
from rasterloom.cluster.places import Place
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.packages.finding import Described, find_package
from rasterloom.pipeline.packages.info import package_info
from rasterloom.pipeline.packages.load import Package, package_of
from rasterloom.pipeline.packages.members import FolderMembers
from rasterloom.pipeline.packages.pack import pack
from rasterloom.pipeline.packages.registry import Registry, check_name

_ENDINGS = (".dlpk", ".zip", ".emd")


@final
class Model:
    """A model package, of rasterloom or of other software, wherever it is.

    The tools take it where they take a path. Nothing in the package is run by any of its methods.
    """

    def __init__(self, model: Any = None) -> None:
        """Remember where the package is; it is read when something is asked of it.

        Parameters
        ----------
        model
            Path or URL of a .dlpk, path of an .emd or of a model's folder, the name of an installed model,
            or the dictionary of an .emd. None waits for :meth:`from_json` or :meth:`from_model_path`.

        Raises
        ------
        SettingError
            If it is none of these.
        """
        self._address: str | None = None
        self._json: Described | None = None
        self._shelf: tuple[Registry, str] | None = None
        if isinstance(model, Mapping):
            self.from_json(model)
        elif isinstance(model, str | Path | Place):
            self._point_to(model)
        elif model is not None:
            raise SettingError(
                f"a Model cannot be made of {type(model).__name__}: give a path or URL of a package, the "
                "name of an installed model, or the dictionary of an .emd."
            )

    def __repr__(self) -> str:
        return (
            f"<Model {self.name} in {self._address or 'JSON'}>" if self._given else "<Model of nothing yet>"
        )

    @classmethod
    def installed(cls, name: str, registry: str | Path | Place | Registry | None = None) -> "Model":
        """The model that a registry holds under a name. Raises MissingInputError if it holds none."""
        shelf = Registry.of(registry)
        model = cls(shelf.address(name))
        model._shelf = (shelf, name)
        return model

    def from_json(self, model: Mapping[str, Any] | str, *, folder: str | Path | None = None) -> None:
        """Take the description of an .emd itself.

        Parameters
        ----------
        model
            The dictionary, or its JSON text.
        folder
            Where the files are that it names. None is the current folder; a ``ModelFile`` that is an absolute
            path names the folder itself.

        Raises
        ------
        SettingError
            If it is no JSON object.
        """
        emd = _object(model)
        file, base = emd.get("ModelFile"), Path(folder or ".").expanduser().absolute()
        if isinstance(file, str) and Path(file).is_absolute():
            emd, base = {**emd, "ModelFile": Path(file).name}, Path(file).parent
        source = f"the JSON of {emd.get('ModelName', 'a model')}"
        self._clear()
        self._json = Described(emd, FolderMembers(base, source), source)

    def from_model_path(self, model: str | Path) -> None:
        """Take the package at a path or URL, or the installed model of that name.

        Raises
        ------
        MissingInputError
            If nothing is there.
        PackageError
            If it is no package that may be read.
        """
        self._clear()
        self._point_to(model)
        _ = self._described

    @property
    def name(self) -> str:
        """What the model is called: the last part of its path, without its ending."""
        if self._shelf is not None:
            return self._shelf[1]
        if self._address is None:
            return str(self._described.emd.get("ModelName") or "model")
        last = self._address.rstrip("/").replace("\\", "/").rpartition("/")[2]
        return next((last[: -len(e)] for e in _ENDINGS if last.lower().endswith(e)), last)

    @property
    def path(self) -> str | None:
        """Path or URL of the package; None for one that was given as JSON."""
        return self._address

    def install(
        self,
        *,
        gis: None = None,
        future: bool = False,
        name: str | None = None,
        registry: str | Path | Place | Registry | None = None,
        overwrite: bool = False,
    ) -> Any:
        """Put the package into the registry, from where everyone who can read it can use it by its name.

        Parameters
        ----------
        gis
            None: ``registry`` says where.
        future
            Return a :class:`rasterloom.cluster.background.Job` at once.
        name
            What it will be called; None takes :attr:`name`.
        registry
            Folder or URL. None takes what the variable ``RASTERLOOM_REGISTRY`` names, else
            ``rasterloom/models`` in the user's data folder.
        overwrite
            Replace a model of this name.

        Returns
        -------
        str
            Path or URL of the installed package.

        Raises
        ------
        OutputExistsError
            If the name is taken.
        SettingError
            If it can be no name.
        PackageError
            If the package is not whole.
        OutputError
            If it cannot be written.
        """
        shelf, called = Registry.of(registry), self.name if name is None else name
        check_name(called)

        def work() -> str:
            shelf.check_free(called, overwrite=overwrite)
            with tempfile.TemporaryDirectory(prefix="rasterloom-install-") as scratch:
                address = shelf.publish(
                    pack(self._described, Path(scratch), called), called, overwrite=overwrite
                )
            self._shelf = (shelf, called)
            return address

        return _now_or_later(work, gis=gis, future=future)

    def query_info(self, *, gis: None = None, future: bool = False) -> Any:
        """What is essential about the model.

        Returns
        -------
        dict
            JSON-able. ``name``, ``model``, ``model_type``, ``framework``, ``bands``, ``extract_bands``,
            ``classes``, ``tile_size``, ``cell_size``, ``parameters``, ``inference_function``, ``trained``
            (epochs and figures), ``needs_trust``: whether it is made of code that ``trust=True`` lets run.
            Entries that a package of other software lacks are None.

        Raises
        ------
        MissingInputError, PackageError
            If the package is not there, or is none.
        """
        return _now_or_later(lambda: package_info(self.name, self._described), gis=gis, future=future)

    def uninstall(
        self, *, gis: None = None, future: bool = False, registry: str | Path | Place | Registry | None = None
    ) -> Any:
        """Take the package out of the registry. A package elsewhere that it was installed from stays.

        Returns
        -------
        str
            Path or URL of what was removed.

        Raises
        ------
        MissingInputError
            If no model of this name is installed.
        ModelMismatchError
            If another model is installed under the name of this one.
        """

        def work() -> str:
            if self._shelf is not None and registry is None:
                shelf, called = self._shelf
            else:
                shelf, called = Registry.of(registry), self.name
                self._check_same(shelf.address(called))
            return shelf.remove(called)

        return _now_or_later(work, gis=gis, future=future)

    def package(self, *, trust: bool = False) -> Package:
        """The package for inference; see :func:`rasterloom.pipeline.load_package`.

        Raises
        ------
        PackageError
            If it was not written by rasterloom, or is not whole.
        """
        return package_of(self._described, trust=trust)

    @property
    def _given(self) -> bool:
        return self._address is not None or self._json is not None

    @cached_property
    def _described(self) -> Described:
        if self._json is not None:
            return self._json
        if self._address is None:
            raise SettingError("this Model is of nothing yet: use from_model_path or from_json first.")
        return find_package(self._address)

    def _point_to(self, model: str | Path | Place) -> None:
        shelf, text = Registry.of(None), str(model)
        if stands_for_installed(text, shelf):
            self._address, self._shelf = shelf.address(text), (shelf, text)
        else:
            self._address = text

    def _clear(self) -> None:
        self._address = self._json = self._shelf = None
        self.__dict__.pop("_described", None)

    def _check_same(self, address: str) -> None:
        if dict(find_package(address).emd) != dict(self._described.emd):
            raise ModelMismatchError(
                f"{address} is another model of the same name: Model.installed({self.name!r}).uninstall() "
                "removes that one."
            )


def list_models(
    *, gis: None = None, future: bool = False, registry: str | Path | Place | Registry | None = None
) -> Any:
    """The models that are installed in the registry.

    Parameters
    ----------
    gis
        None: ``registry`` says where.
    future
        Return a :class:`rasterloom.cluster.background.Job` at once.
    registry
        Folder or URL; None is the usual one, see :meth:`Model.install`.

    Returns
    -------
    list of Model
        In alphabetical order. They are not read by this.
    """
    shelf = Registry.of(registry)
    return _now_or_later(
        lambda: [Model.installed(name, shelf) for name in shelf.names()], gis=gis, future=future
    )


def usable(model: Any, *, trust: bool = False) -> Any:
    """What a tool was given for a model, as path, URL, package or model object.

    A :class:`Model`, the dictionary of an .emd and the name of an installed model are looked up; everything
    else is returned as it is.

    Raises
    ------
    PackageError
        If it was given as JSON, and is not of rasterloom or not whole.
    """
    if isinstance(model, Mapping):
        model = Model(model)
    if isinstance(model, Model):
        return model.package(trust=trust) if model.path is None else model.path
    if isinstance(model, str | Path) and stands_for_installed(str(model), shelf := Registry.of(None)):
        return shelf.address(str(model))
    return model


def stands_for_installed(text: str, shelf: Registry) -> bool:
    """Whether a text is the name of an installed model and no path of something that is here."""
    near = (text, *(f"{text}{ending}" for ending in _ENDINGS))
    if "/" in text or "\\" in text or any(Path(path).exists() for path in near):
        return False
    return shelf.holds(text)


def _object(model: Mapping[str, Any] | str) -> dict[str, Any]:
    try:
        plain = json.loads(model) if isinstance(model, str) else model
    except ValueError as error:
        raise SettingError(f"the text is no JSON ({error}): from_model_path takes a path.") from error
    if not isinstance(plain, Mapping):
        raise SettingError(f"a model's description is a JSON object, not {type(plain).__name__}.")
    return dict(plain)


def _now_or_later(work: Callable[[], Any], *, gis: None, future: bool) -> Any:
    if gis is not None:
        raise SettingError("gis must be None: there is no portal here; registry= names a folder or URL.")
    if not future:
        return work()

    def reporting(report: Callable[[Progress], None]) -> Any:
        return work()

    return Job(reporting)
