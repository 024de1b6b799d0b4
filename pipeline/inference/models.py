"""Bring a model, in whatever form the caller has it, to where every worker can read it."""

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rasterloom.cluster.delivery import is_named, named_by_content, place_package, read_placed
from rasterloom.cluster.memory import share_free_memory
from rasterloom.cluster.places import Place
from rasterloom.cluster.resident import resident
from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.load import Package, build_model, load_package, read_package
from rasterloom.pipeline.packages.manifest import dump_emd
from rasterloom.pipeline.packages.model import usable
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.grid import same_crs
from rasterloom.pipeline.rasters.raster import Raster

if TYPE_CHECKING:
    from rasterloom.models.ready import ReadyModel

T = TypeVar("T")


@dataclass(frozen=True)
class StagedModel:
    """A model as a package on disk."""

    path: Path
    """Named by its content where the caller trusts it; else where the caller has it."""
    spec: ModelSpec
    digest: str
    """Content hash: equal models, equal digests, in every process."""
    tile_multiple: int
    """Tile sizes must be multiples of this."""

    def place(self, folder: str | Path | Place) -> str:
        """Copy the package into ``folder``, where workers will read it: path or URL for :func:`load_staged`.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        return place_package(self.path, folder)


@contextmanager
def staged_model(model: Any, *, trust: bool = False) -> Iterator[StagedModel]:
    """The model as a package, for as long as the context lasts.

    Parameters
    ----------
    model
        Path of a .dlpk or .emd, URL of a .dlpk, name of an installed model, what :func:`load_package`
        returned, a :class:`~rasterloom.pipeline.packages.model.Model`, the dictionary of an .emd, or a model
        object.
    trust
        Whether code in a package that is given by path may be run.

    Raises
    ------
    SettingError
        If it is none of these.
    MissingInputError, PackageError
        If the package is not there, cannot be read, or holds a program that is not trusted.
    """
    model = usable(model, trust=trust)
    with tempfile.TemporaryDirectory(prefix="rasterloom-model-") as name:
        folder = Path(name)
        if isinstance(model, str | Path | Place):
            yield _of_package(load_package(model, trust=trust), folder, model)
        elif isinstance(model, Package):
            yield _of_package(model, folder)
        elif hasattr(model, "network") and hasattr(model, "spec"):
            yield _of_object(model, folder)
        else:
            raise SettingError(
                f"a model cannot be made of {type(model).__name__}: give the path of a .dlpk or .emd, a "
                "model such as UnetClassifier, or what rasterloom.models.from_torch makes of a "
                "torch.nn.Module."
            )


def load_staged(package: str, digest: str | None = None) -> "ReadyModel":
    """The model of a package that the plan of a run names, for the task that runs it.

    A package that is named by its content is the one that the caller of the run has staged: a network in it
    is trusted as the caller trusted it, and the file is refused when its content is no longer that.

    Parameters
    ----------
    package
        Path or URL, as ``StagedModel.place`` gave it.
    digest
        Content hash of the model that is wanted; for a package of another name.

    Raises
    ------
    PackageError
        If the content is not what the name says, or cannot be read.
    """
    share_free_memory()
    if not is_named(package):
        found = load_package(package)
        if digest is not None and found.digest != digest:
            raise PackageError(
                f"{package} is refused: it holds another model than it did when the array was made. Make the "
                "array again."
            )
        return _ready(found)
    return _ready(read_package(read_placed(package), source=package, trust=True))


def _ready(package: Package) -> "ReadyModel":
    model: ReadyModel = build_model(package)
    return model


def _of_package(package: Package, folder: Path, given: Any = None) -> StagedModel:
    package.check_trust()
    path = Path(given) if isinstance(given, str | Path) else None
    if path is None or path.suffix != ".dlpk" or package.trust or not path.is_file():
        path = named_by_content(_packed(package, folder))
    return StagedModel(path, package.spec, package.digest, _tile_multiple(package))


def _of_object(model: Any, folder: Path) -> StagedModel:
    # a brought network goes to the caller's own workers as it is, code included
    program = model.program(pickled=True) if hasattr(model, "program") else None
    saved = save_package(
        model,
        folder / "model",
        compute_metrics=False,
        save_inference_file=False,
        report=False,
        program=program,
    )
    digest = load_package(saved.with_suffix("")).digest if program is None else model.digest
    return StagedModel(named_by_content(saved), model.spec, digest, model.tile_multiple)


def _packed(package: Package, folder: Path) -> Path:
    ending = package.weights_name.rpartition(".")[2]
    emd = {**package.emd, "ModelFile": f"model.{ending}"}
    path = folder / "model.dlpk"
    files = {name: package.member(name) for name in package.files}
    write_archive(path, {"model.emd": dump_emd(emd), f"model.{ending}": package.weights, **files})
    return path


def _tile_multiple(package: Package) -> int:
    from rasterloom.models.build import describe  # takes torch along

    try:
        return describe(package.spec).tile_multiple
    except SettingError as error:
        raise PackageError(f"{package.source} contradicts itself: {error}") from error


def bands_for(spec: ModelSpec, raster: Raster) -> tuple[int, ...]:
    """0-based bands of the raster that the network gets, in its order.

    Raises
    ------
    ModelMismatchError
        If the raster lacks a band, or holds pixels of another kind than the model has seen.
    """
    check_bands(spec, raster)
    _warn_of_scale(_called(spec), spec, raster)
    return spec.extract_bands


def check_bands(spec: ModelSpec, raster: Raster) -> None:
    """Warn of pixels of another kind than the model has seen.

    Raises
    ------
    ModelMismatchError
        If the raster lacks a band.
    """
    called = _called(spec)
    if max(spec.extract_bands) >= raster.band_count:
        raise ModelMismatchError(
            f"{called} was trained on {spec.band_count} bands ({', '.join(spec.bands)}), and "
            f"{raster.name} has {raster.band_count} ({', '.join(raster.bands)}): "
            "give a raster with those bands, or train on these."
        )
    if spec.dtype and raster.dtype != spec.dtype:
        warnings.warn(
            f"{called} was trained on {spec.dtype} pixels and {raster.name} holds {raster.dtype}: "
            "the result is only good if both have the same units.",
            stacklevel=4,
        )


def _called(spec: ModelSpec) -> str:
    return str(spec.parameters.get("name") or spec.model)


def _warn_of_scale(called: str, spec: ModelSpec, raster: Raster) -> None:
    if not all(spec.cell_size) or not spec.crs or not same_crs(spec.crs, raster.grid.crs):
        return  # units may differ, so the numbers cannot be compared
    ratio = raster.grid.cell_size[0] / spec.cell_size[0]
    if not 2 / 3 < ratio < 1.5:
        warnings.warn(
            f"{called} was trained on cells of {spec.cell_size[0]:g} and {raster.name} is read at "
            f"{raster.grid.cell_size[0]:g}: pass context={{'cellSize': {spec.cell_size[0]:g}}}.",
            stacklevel=4,
        )


def resident_network(
    predictor: Callable[..., T],
    word: str,
    package: str,
    digest: str,
    device: str,
    precision: str,
    load: Callable[[], Any] | None = None,
) -> T:
    """What runs a package's network, made once in this process.

    Parameters
    ----------
    predictor, word
        Called with the model and the device; the name of what it makes.
    package, digest
        Path or URL of the package, and the content hash of its model.
    device, precision
        What it computes on and with.
    load
        Gives the model. None takes the package.
    """

    def make() -> T:
        model = load_staged(package) if load is None else load()
        return predictor(model, device, precision=precision)

    return resident(f"{word}-{digest}-{device}-{precision}", make)
