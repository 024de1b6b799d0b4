"""Bring a model, in whatever form the caller has it, to where every worker can read it."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.packages.load import build_model, load_package
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.grid import same_crs
from rasterloom.pipeline.rasters.raster import Raster


@dataclass(frozen=True)
class StagedModel:
    """A model as a package on disk."""

    path: Path
    spec: ModelSpec
    digest: str
    """Content hash: equal models, equal digests."""
    tile_multiple: int
    """Tile sizes must be multiples of this."""

    def place(self, folder: Path) -> Path:
        """Copy the package into ``folder``, where workers will read it, and say where it is."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"model-{self.digest[:16]}.dlpk"
        if not target.exists():
            part = target.with_suffix(".part")
            shutil.copyfile(self.path, part)
            part.replace(target)
        return target


@contextmanager
def staged_model(model: Any) -> Iterator[StagedModel]:
    """The model as a package, for as long as the context lasts.

    Parameters
    ----------
    model
        Path of a .dlpk or .emd, or a model object.

    Raises
    ------
    SettingError
        If it is neither.
    MissingInputError, PackageError
        If the package is not there or cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="rasterloom-model-") as folder:
        if isinstance(model, str | Path) and Path(model).suffix == ".dlpk":
            path = Path(model)
        elif isinstance(model, str | Path):
            path = save_package(
                build_model(load_package(model)), Path(folder) / "model", compute_metrics=False
            )
        elif hasattr(model, "network") and hasattr(model, "spec"):
            path = save_package(model, Path(folder) / "model", compute_metrics=False)
        else:
            raise SettingError(
                f"a model cannot be made of {type(model).__name__}: give the path of a .dlpk or .emd, "
                "or a model such as UnetClassifier."
            )
        package = load_package(path)
        yield StagedModel(path, package.spec, package.digest, build_model(package).tile_multiple)


def bands_for(spec: ModelSpec, raster: Raster) -> tuple[int, ...]:
    """0-based bands of the raster that the network gets, in its order.

    Raises
    ------
    ModelMismatchError
        If the raster lacks a band, or holds pixels of another kind than the model has seen.
    """
    if max(spec.extract_bands) >= raster.band_count:
        raise ModelMismatchError(
            f"{spec.model} was trained on {spec.band_count} bands ({', '.join(spec.bands)}), and "
            f"{raster.name} has {raster.band_count} ({', '.join(raster.bands)}): "
            "give a raster with those bands, or train on these."
        )
    if raster.dtype != spec.dtype:
        warnings.warn(
            f"{spec.model} was trained on {spec.dtype} pixels and {raster.name} holds {raster.dtype}: "
            "the result is only good if both have the same units.",
            stacklevel=3,
        )
    _warn_of_scale(spec, raster)
    return spec.extract_bands


def _warn_of_scale(spec: ModelSpec, raster: Raster) -> None:
    if not same_crs(spec.crs, raster.grid.crs):
        return  # units may differ, so the numbers cannot be compared
    ratio = raster.grid.cell_size[0] / spec.cell_size[0]
    if not 2 / 3 < ratio < 1.5:
        warnings.warn(
            f"{spec.model} was trained on cells of {spec.cell_size[0]:g} and {raster.name} is read at "
            f"{raster.grid.cell_size[0]:g}: pass context={{'cellSize': {spec.cell_size[0]:g}}}.",
            stacklevel=4,
        )
