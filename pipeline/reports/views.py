"""The same piece of ground as scene, labels and class map, decimated to a picture's size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.datasets.pictures import band_position
from rasterloom.pipeline.labels.burn import burn
from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.rasters.grid import Grid, Window, read_crs
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window
from rasterloom.pipeline.reports.accuracy import map_classes, match_names

_NO_CLASS = (60, 60, 60)
"""Colour of ground without a class, in labels and maps."""
_NOTHING = (255, 255, 255)
"""Colour of ground that the raster does not cover."""


@dataclass(frozen=True, eq=False)
class Views:
    """Pictures of one extent, (height, width, 3) uint8, with square pixels on the ground."""

    scene: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    classes: tuple[ClassInfo, ...]
    """Classes that occur in truth or prediction, in ascending value, without background."""
    grid: Grid
    """Grid of the pictures."""
    cell_size: float
    """Ground that one pixel of the picture covers, in pixels of the class map."""


def look_at(
    scene: Any,
    labels: Any,
    class_map: Any,
    *,
    class_field: str | None = None,
    extent: tuple[float, float, float, float] | None = None,
    side: int = 720,
) -> Views:
    """Read scene, labels and class map of one extent at the size of a picture.

    Parameters
    ----------
    scene
        A path, a list of paths or a folder, in any CRS.
    labels
        A vector file or GeoDataFrame.
    class_map
        Path of a class raster.
    class_field
        Field of the class.
    extent
        (west, south, east, north) in the map's CRS. None shows all of the map.
    side
        Longer side of the pictures, in pixels; less where the map has less.
    """
    given = describe(class_map)
    window = Window(0, 0, *given.grid.shape) if extent is None else given.grid.window_of(extent)
    grid = picture_grid(given.grid.cropped(window), side)
    known = map_classes(given)
    read = match_names(read_features(labels, grid=given.grid, class_field=class_field), known)
    truth = burn(read, grid, Window(0, 0, *grid.shape), dtype="uint16")
    predicted, valid = _on_grid(given, grid, "nearest")
    # the map's own colours, where it names its classes: both pictures then speak one language
    colors = {info.value: info for info in (*read.classes, *known)}
    present = sorted(
        ({*np.unique(truth).tolist(), *np.unique(predicted[0][valid]).tolist()} - {0}) & set(colors)
    )
    return Views(
        scene=scene_picture(describe(scene), grid),
        truth=_class_picture(truth, np.ones_like(valid), tuple(colors.values())),
        prediction=_class_picture(predicted[0], valid, tuple(colors.values())),
        classes=tuple(colors[value] for value in present),
        grid=grid,
        cell_size=math.sqrt(window.height * window.width / (grid.height * grid.width)),
    )


def picture_grid(grid: Grid, side: int) -> Grid:
    """A coarser grid over the same ground whose pixels are as wide as they are high on the ground.

    Degrees of longitude shrink with the cosine of the latitude; a picture drawn in degrees would be too wide.
    """
    west, south, east, north = grid.bounds
    squeeze = 1.0
    if read_crs(grid.crs).is_geographic:
        squeeze = max(math.cos(math.radians((south + north) / 2)), 0.01)
    width, height = (east - west) * squeeze, north - south
    least = min(grid.cell_size[0] * squeeze, grid.cell_size[1])
    cell = max(max(width, height) / side, least)
    # a long strip keeps one row, or column, of pixels
    return grid.regridded(cell_size=(min(cell / squeeze, east - west), min(cell, north - south)))


def scene_picture(raster: Raster, grid: Grid) -> np.ndarray:
    """(height, width, 3) uint8: a raster in natural colours, stretched; white where it holds nothing."""
    pixels, valid = _on_grid(raster, grid, None)
    picture = np.full((*grid.shape, 3), _NOTHING, np.uint8)
    if valid.any():
        seen = pixels[_visible(raster.bands)][:, valid].astype(np.float32)  # (3, pixel)
        # one stretch for all three bands keeps the hues; 8-bit pictures mostly need next to none
        black, white = np.percentile(seen, (0.5, 99.5))
        shown = ((seen - black) / max(white - black, 1e-6)).clip(0, 1)
        picture[valid] = np.round(shown.T * 255)
    return picture


def _on_grid(raster: Raster, grid: Grid, resampling: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (band, row, column) and where they hold something (row, column), on a grid in any CRS."""
    return read_window(raster.on_grid(grid, resampling=resampling), Window(0, 0, *grid.shape))


def _visible(bands: Sequence[str]) -> list[int]:
    """Positions of red, green and blue; without such names the first three, or the first one thrice."""
    lower = [name.lower() for name in bands]
    if all(name in lower for name in ("red", "green", "blue")):
        return [band_position(name, bands) for name in ("red", "green", "blue")]
    return [0, 1, 2] if len(bands) >= 3 else [0, 0, 0]


def _class_picture(values: np.ndarray, valid: np.ndarray, classes: Sequence[ClassInfo]) -> np.ndarray:
    table = np.full((65_536, 3), _NO_CLASS, np.uint8)
    for info in classes:
        table[info.value] = info.color
    picture = table[values]
    picture[~valid] = _NOTHING
    return picture
