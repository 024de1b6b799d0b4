"""Whole rasters as objects: each is seen at once, on a square of what the network sees."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import CrsError, ModelMismatchError, RasterError, ReadError
from rasterloom.pipeline.inference.models import bands_for
from rasterloom.pipeline.rasters.addresses import find
from rasterloom.pipeline.rasters.files import quiet
from rasterloom.pipeline.rasters.gdal import FAILURES, open_source, reading
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.open import describe, rasters_in
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window
from rasterloom.pipeline.rasters.zarrs import is_store

MOST = 2048
"""Longest side, in pixels, that a raster is read at; the network's own square is smaller."""


@dataclass(frozen=True, eq=False)
class Image:
    """A raster as the network sees it."""

    name: str
    pixels: np.ndarray
    """(C, H, W), 0 where nothing is."""
    valid: np.ndarray
    """(H, W) of bool."""
    outline: bytes | None = None
    """WKB of the ground it covers; None where nobody knows."""
    crs: str = ""
    """WKT; empty where nobody knows."""


def image_sources(source: Any) -> list[Any]:
    """The rasters of a folder or list, one by one; anything else is a single one."""
    if isinstance(source, str | Path):
        folder = "://" not in str(source) and Path(source).is_dir() and not is_store(Path(source))
        return list(rasters_in(Path(source))) if folder else [source]
    if isinstance(source, Sequence) and source and all(isinstance(item, str | Path) for item in source):
        return list(source)
    return [source]


def read_image(source: Any, spec: ModelSpec) -> Image:
    """A raster of any size, no larger than is useful.

    Parameters
    ----------
    source
        What :func:`rasterloom.pipeline.rasters.open.describe` takes, or the path of an image without a place
        on the ground, such as a photograph.
    spec
        Of the model that looks at it.

    Raises
    ------
    MissingInputError, RasterError, ReadError
        If it cannot be read.
    ModelMismatchError
        If it lacks a band.
    """
    try:
        raster = describe(source)
    except (CrsError, RasterError):
        if not isinstance(source, str | Path):
            raise
        return _plain_image(source, spec)
    return _placed_image(raster, spec)


def _placed_image(raster: Raster, spec: ModelSpec) -> Image:
    bands = bands_for(spec, raster)
    grid = raster.grid
    shrunk = raster.on_grid(_smaller(grid))
    pixels, valid = read_window(shrunk, Window(0, 0, *shrunk.grid.shape), bands)
    pixels[:, ~valid] = 0
    corners = [(0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0)]
    outline = shapely.orient_polygons(shapely.Polygon([grid.affine @ corner for corner in corners]))
    return Image(raster.name, pixels, valid, shapely.to_wkb(outline, byte_order=1), grid.crs)


def _smaller(grid: Grid) -> Grid:
    """The same ground on at most MOST rows and columns."""
    height, width = _sides(grid.height, grid.width)
    a, b, c, d, e, f = grid.transform
    across, down = grid.width / width, grid.height / height
    transform = (a * across, b * down, c, d * across, e * down, f)
    return grid if (height, width) == grid.shape else Grid(grid.crs, transform, height, width)


def _sides(height: int, width: int) -> tuple[int, int]:
    scale = min(1.0, MOST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _plain_image(path: str | Path, spec: ModelSpec) -> Image:
    place = find(str(path))
    local = isinstance(place, Path)
    name = str(place) if isinstance(place, Path) else place.gdal
    try:
        with reading(remote=not local), _quietly(name) as source:
            if max(spec.extract_bands) >= source.count:
                raise ModelMismatchError(
                    f"{spec.model} was trained on {spec.band_count} bands ({', '.join(spec.bands)}), and "
                    f"{path} has {source.count}: give an image with those bands."
                )
            bands = [band + 1 for band in spec.extract_bands]
            shape = _sides(source.height, source.width)
            pixels = source.read(bands, out_shape=(len(bands), *shape), resampling=Resampling.average)
            valid = source.dataset_mask(out_shape=shape) > 0
    except FAILURES as error:
        raise ReadError(f"{path} cannot be read as an image: {error}") from error
    pixels[:, ~valid] = 0
    return Image(str(path), pixels, valid)


def _quietly(name: str) -> Any:
    """An open image, whose lack of a place on the ground is no news."""
    with quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return open_source(name)
