"""Which chips are cut from a raster: decided before any pixel is read."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely

from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.raster import Raster

EDGE = 1e-3
"""Pixels by which chips are shrunk before they are compared with features: to touch is not to overlap."""

_BLOCK = 65_536
"""Chips whose outlines are held at once."""


@dataclass(frozen=True, eq=False)
class ChipPlan:
    """The chips of one raster with the labels that are burned into them."""

    raster: Raster
    """On the grid it is read on."""
    labels: Labels
    """In the raster's CRS."""
    tile: tuple[int, int]
    """Height and width of a chip in pixels."""
    stride: tuple[int, int]
    """Rows and columns from one chip to the next."""
    corners: np.ndarray
    """(n, 2) row and column of each chip's upper-left pixel, int64, in row-major order."""
    start_index: int
    """Number of the first chip in a longer sequence."""

    def __len__(self) -> int:
        return len(self.corners)

    def window(self, chip: int) -> Window:
        """Rows and columns of a chip; it reaches beyond a raster that is smaller than a chip."""
        row, col = self.corners[chip].tolist()
        return Window(row, col, *self.tile)

    @cached_property
    def id(self) -> str:
        """SHA-256 of everything that the chips depend on."""
        parts = {
            "version": 1,
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "bands": [self.raster.bands, self.raster.dtype, self.raster.nodata],
            "labels": self.labels.digest,
            "tile": [self.tile, self.stride, self.start_index],
            "chips": hashlib.sha256(np.ascontiguousarray(self.corners).tobytes()).hexdigest(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def plan_chips(
    raster: Raster,
    labels: Labels,
    *,
    tile: tuple[int, int],
    stride: tuple[int, int],
    extent: Window | None = None,
    mask_polygons: Any = None,
    all_tiles: bool = False,
    start_index: int = 0,
) -> ChipPlan:
    """Choose the chips of a raster, in row-major order from the upper left.

    Chips lie wholly on the extent. Along a side that is shorter than one chip there is one chip, and what
    lies beyond the raster is 0 in it.

    Parameters
    ----------
    raster
        On the grid to read on.
    labels
        In the raster's CRS.
    tile, stride
        Height and width in pixels, 1 or more.
    extent
        Part of the raster to cut from; its upper-left pixel is the first chip's. None takes all of it.
    mask_polygons
        A shapely geometry in the raster's CRS; only chips completely inside are kept. None keeps all.
    all_tiles
        Also keep chips that no feature overlaps.
    start_index
        Number of the first chip, 0 or more.

    Raises
    ------
    SettingError
        If a size is below 1.
    LabelError
        If no chip is left.

    References
    ----------
    "Formats", 1.5: tile_size, stride_size, export_all_tiles, input_mask_polygons.
    """
    if min(*tile, *stride) < 1 or start_index < 0:
        raise SettingError(
            f"tile {tile}, stride {stride} and start index {start_index} cannot work: "
            "use 1 or more pixels, and an index of 0 or more."
        )
    area = extent or Window(0, 0, *raster.grid.shape)
    chosen = [
        block[_wanted(block, raster.grid, tile, labels, mask_polygons, all_tiles)]
        for block in _candidates(area, tile, stride)
    ]
    corners = np.concatenate(chosen)
    if len(corners) == 0:
        raise LabelError(_nothing_left(raster, mask_polygons))
    return ChipPlan(raster, labels, tile, stride, corners, start_index)


def chip_outlines(corners: np.ndarray, tile: tuple[int, int], grid: Grid) -> np.ndarray:
    """Outlines of chips in CRS units, a thousandth of a pixel smaller on each side, (n,) shapely polygons."""
    rows = corners[:, :1] + np.array([EDGE, EDGE, tile[0] - EDGE, tile[0] - EDGE])  # (chip, corner)
    cols = corners[:, 1:] + np.array([EDGE, tile[1] - EDGE, tile[1] - EDGE, EDGE])
    a, b, c, d, e, f = grid.transform
    ring = np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=-1)  # (chip, corner, xy)
    return np.asarray(shapely.polygons(ring))


def _candidates(area: Window, tile: tuple[int, int], stride: tuple[int, int]) -> Iterator[np.ndarray]:
    """Corners (n, 2) of all chips of an area, some whole rows of chips at a time."""
    rows = _starts(area.row, area.height, tile[0], stride[0])
    cols = _starts(area.col, area.width, tile[1], stride[1])
    step = max(1, _BLOCK // len(cols))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        yield np.stack([np.repeat(part, len(cols)), np.tile(cols, len(part))], axis=1)


def _starts(origin: int, length: int, tile: int, stride: int) -> np.ndarray:
    return np.arange(origin, max(origin + length - tile, origin) + 1, stride, dtype=np.int64)


def _wanted(
    corners: np.ndarray,
    grid: Grid,
    tile: tuple[int, int],
    labels: Labels,
    mask_polygons: Any,
    all_tiles: bool,
) -> np.ndarray:
    """Which chips are kept, bool (n,)."""
    wanted = np.ones(len(corners), bool)
    if all_tiles and mask_polygons is None:
        return wanted
    outlines = chip_outlines(corners, tile, grid)
    if not all_tiles:
        overlapping = labels.tree.query(outlines, predicate="intersects")[0]
        wanted[:] = False
        wanted[overlapping] = True
    if mask_polygons is not None:
        shapely.prepare(mask_polygons)
        wanted &= shapely.covers(mask_polygons, outlines)
    return wanted


def _nothing_left(raster: Raster, mask_polygons: Any) -> str:
    inside = " completely inside the mask polygons" if mask_polygons is not None else ""
    return (
        f"no chip of {raster.name}{inside} overlaps a feature: use smaller chips, a wider extent, "
        'or context={"exportAllTiles": True} for chips without labels.'
    )
