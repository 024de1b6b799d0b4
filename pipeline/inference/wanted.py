"""The ``mask`` of a context: outside of it nothing is written."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely

from rasterloom.cluster.places import Place
from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.labels.burn import burn
from rasterloom.pipeline.labels.features import Labels, read_outline
from rasterloom.pipeline.rasters.context import mask_on, mask_window
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.open import SUFFIXES
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.raster import Raster

_BLOCK = 512
"""Side of the squares of a mask that points are looked up in, in pixels."""

_INSIDE = (ClassInfo(1, "inside", (255, 255, 255)),)


@dataclass(frozen=True)
class Mask:
    """Where results are wanted: inside polygons, or where a raster holds something other than 0."""

    digest: str
    """Changes whenever the answer may."""
    raster: Raster | None = None
    """On the grid of the run."""
    outline: bytes = b""
    """The polygons as WKB, before they have been put into a file."""
    place: Place | None = None
    """Folder of that file."""

    @property
    def file(self) -> str:
        return f"mask-{self.digest[:16]}.wkb"

    def at_home(self, place: Place) -> "Mask":
        """The mask with everything it needs in a folder that all workers see."""
        if self.raster is not None:
            return replace(self, raster=pinned(self.raster, place))
        place.write(self.file, self.outline)
        return replace(self, outline=b"", place=place)


def read_mask(source: Any, grid: Grid) -> Mask:
    """The mask that a context names.

    Parameters
    ----------
    source
        A vector file, a GeoDataFrame, a raster's path or URL, or a DataArray.
    grid
        The grid of the run.

    Raises
    ------
    CrsError, LabelError, RasterError, MissingInputError
        If it cannot be read, or has no place on the ground of the run.
    """
    if _is_raster(source):
        raster = mask_on(source, grid)
        return Mask(hashlib.sha256(raster.etag.encode()).hexdigest(), raster)
    outline = shapely.to_wkb(shapely.normalize(read_outline(source, grid=grid)))
    return Mask(hashlib.sha256(outline).hexdigest(), outline=outline)


def inside_mask(mask: Mask, grid: Grid, window: Window) -> np.ndarray:
    """Which pixels of a window of ``grid`` are wanted: (row, column) of bool.

    A pixel is inside a polygon that holds its centre.
    """
    if mask.raster is not None:
        return mask_window(mask.raster, window)
    labels = _labels(mask.outline) if mask.place is None else _stored(mask.place, mask.file)
    return burn(labels, grid, window) == 1


def inside_mask_at(mask: Mask, grid: Grid, points: np.ndarray) -> np.ndarray:
    """Which of some points lie in pixels that are wanted: (n,) of bool.

    Parameters
    ----------
    points
        (n, 2), x and y in pixels of ``grid``, inside of it.
    """
    cells = np.floor(points).astype(np.int64)
    inside = np.zeros(len(points), bool)
    blocks, block_of = np.unique(cells // _BLOCK, axis=0, return_inverse=True)
    for number, (col, row) in enumerate(blocks.tolist()):
        window = Window(row * _BLOCK, col * _BLOCK, _BLOCK, _BLOCK).clipped(grid.shape)
        mine = np.flatnonzero(block_of.reshape(-1) == number)
        x, y = (cells[mine] - (window.col, window.row)).T
        inside[mine] = inside_mask(mask, grid, window)[y, x]
    return inside


def _is_raster(source: Any) -> bool:
    if isinstance(source, geopandas.GeoDataFrame):
        return False
    if isinstance(source, str | Path):
        path = Path(source)
        return path.is_dir() or path.suffix.lower() in SUFFIXES
    return True


@lru_cache(maxsize=2)
def _stored(place: Place, name: str) -> Labels:
    return _labels(place.read(name))


def _labels(outline: bytes) -> Labels:
    parts = shapely.get_parts(shapely.from_wkb(outline))
    return Labels(np.asarray(parts, object), np.ones(len(parts), np.int64), _INSIDE)
