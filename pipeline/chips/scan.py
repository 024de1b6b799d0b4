"""Go over the ground: which chips of a grid meet labels, and which chips are centred on features."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely

from rasterloom.models.errors import LabelError
from rasterloom.pipeline.chips.places import CHIP, STRIP_PIXELS, outlines, window_of
from rasterloom.pipeline.labels.centred import middles_of, windows_around
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.labels.objects import objects_of_chips
from rasterloom.pipeline.labels.runs import to_pixels
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window

_BLOCK = 65_536
"""Chips whose outlines are held at once."""

MAX_VALUE = 65_535
"""Greatest class value: masks are 8 or 16 bits wide."""


@dataclass(frozen=True, eq=False)
class Scan:
    """All chips of an area, in row-major order."""

    rows: np.ndarray
    cols: np.ndarray
    tile: tuple[int, int]

    @classmethod
    def of(cls, area: Window, tile: tuple[int, int], stride: tuple[int, int]) -> "Scan":
        """Chips lie wholly on the area; along a side that is shorter than one chip there is one."""
        rows = _starts(area.row, area.height, tile[0], stride[0])
        return cls(rows, _starts(area.col, area.width, tile[1], stride[1]), tile)

    def __len__(self) -> int:
        return len(self.rows) * len(self.cols)

    def chips(self, positions: np.ndarray) -> np.ndarray:
        """Rows of the chip table for positions in the scan."""
        chips = np.zeros(len(positions), CHIP)
        chips["row"] = self.rows[positions // len(self.cols)]
        chips["col"] = self.cols[positions % len(self.cols)]
        chips["height"], chips["width"] = self.tile
        chips["feature"] = -1
        return chips

    @property
    def step(self) -> int:
        """Rows of chips in a block."""
        return max(1, _BLOCK // len(self.cols))

    def block(self, number: int) -> np.ndarray:
        """Positions of some whole rows of chips."""
        first = number * self.step * len(self.cols)
        return np.arange(first, min(first + self.step * len(self.cols), len(self)))

    def blocks(self) -> Iterator[np.ndarray]:
        for number in range(-(-len(self.rows) // self.step)):
            yield self.block(number)

    def blocks_of_rows(self, first: float, last: float) -> range:
        """Numbers of the blocks with chips that reach into rows ``first`` to ``last`` of pixels."""
        begin = int(np.searchsorted(self.rows + self.tile[0], first))
        end = int(np.searchsorted(self.rows, last, side="right"))
        return range(begin // self.step, -(-end // self.step))


def overlapped(scan: Scan, grid: Grid, features: Iterable[Labels], *, min_share: float = 0.0) -> np.ndarray:
    """Which chips features overlap, bool (n,).

    Parameters
    ----------
    scan
        On ``grid``.
    features
        Some at a time, in the grid's CRS, best from north to south.
    min_share
        Least part of a feature's area that must lie in the chip.
    """
    wanted = np.zeros(len(scan), bool)

    @lru_cache(maxsize=4)  # features come from north to south, and so do chips
    def tree(number: int) -> shapely.STRtree:
        return shapely.STRtree(outlines(scan.chips(scan.block(number)), grid))

    for labels in features:
        if not len(labels):
            continue
        for number in scan.blocks_of_rows(*_rows_of(labels.geometries, grid)):
            positions = scan.block(number)
            # a query prepares what it is asked for, so that large polygons are fast
            chip = tree(number).query(labels.geometries, predicate="intersects")[1]
            if min_share:
                chip = _with_share(labels, grid, scan, positions, np.unique(chip), min_share)
            wanted[positions[chip]] = True
    return wanted


def inside(scan: Scan, grid: Grid, mask: shapely.Geometry) -> np.ndarray:
    """Which chips lie completely inside a geometry in the grid's CRS, bool (n,)."""
    shapely.prepare(mask)
    parts = [shapely.covers(mask, outlines(scan.chips(block), grid)) for block in scan.blocks()]
    return np.asarray(np.concatenate(parts), bool)


def look_through(scan: Scan, class_map: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Which chips of a class raster show a class, bool (n,), and the class values of all chips, ascending.

    Raises
    ------
    LabelError
        If the raster holds what is no class value.
    """
    wanted = np.zeros((len(scan.rows), len(scan.cols)), bool)
    seen = np.zeros(MAX_VALUE + 1, bool)
    height, width = scan.tile
    together = max(1, (STRIP_PIXELS // height - width) // max(1, _step(scan.cols)))
    for line, row in enumerate(scan.rows.tolist()):
        for first in range(0, len(scan.cols), together):
            cols = scan.cols[first : first + together]
            window = Window(row, int(cols[0]), height, int(cols[-1] - cols[0]) + width)
            values = class_values(class_map, window.clipped(class_map.grid.shape))
            seen |= np.bincount(values.ravel(), minlength=len(seen)) > 0
            shown = np.concatenate([[0], np.cumsum((values > 0).any(axis=0))])
            begin = np.minimum(cols - cols[0], len(shown) - 1)
            end = np.minimum(begin + width, len(shown) - 1)
            wanted[line, first : first + together] = shown[end] > shown[begin]
    return wanted.ravel(), np.flatnonzero(seen[1:]) + 1


def class_values(class_map: Raster, window: Window) -> np.ndarray:
    """Class value of each pixel of a window inside a class raster, (row, column) int64; 0 = no class.

    Raises
    ------
    LabelError
        If a pixel is no whole number from 0 to 65535.
    """
    pixels, valid = read_window(class_map, window, [0])
    given = np.where(valid, pixels[0], 0)
    values = given.astype(np.int64)
    if values.size and (values.min() < 0 or values.max() > MAX_VALUE or (values != given).any()):
        wrong = given[(values < 0) | (values > MAX_VALUE) | (values != given)][0]
        raise LabelError(
            f"{class_map.name} holds {wrong:g}, which cannot be a class value: use whole numbers from 0 to "
            f"{MAX_VALUE}, 0 for no class."
        )
    return values


def centred(
    features: Iterable[Labels],
    grid: Grid,
    area: Window,
    tile: tuple[int, int],
    *,
    fixed: bool,
    min_share: float = 0.0,
) -> np.ndarray:
    """A chip around each feature whose middle lies in an area, row by row of tiles, from left to right.

    Parameters
    ----------
    features
        Some at a time, in the grid's CRS.
    fixed
        True cuts a whole tile around the middle; False only what the feature's bounding box fills of it.
    min_share
        Least part of a feature's area that must lie in its chip; points and lines have none.

    Returns
    -------
    ndarray of ``CHIP``
        ``number`` is the position in this order.
    """
    parts = [_around(labels, grid, area, tile, fixed, min_share) for labels in features if len(labels)]
    chips = np.concatenate(parts) if parts else np.zeros(0, CHIP)
    order = np.lexsort((chips["feature"], chips["col"], chips["row"] // tile[0]))
    chips = chips[order]
    chips["number"] = np.arange(len(chips))
    return chips


def _around(
    labels: Labels, grid: Grid, area: Window, tile: tuple[int, int], fixed: bool, min_share: float
) -> np.ndarray:
    in_pixels = shapely.transform(labels.geometries, lambda xy: to_pixels(xy, grid))
    boxes = shapely.bounds(in_pixels)
    row, col = middles_of(boxes).T
    kept = (row >= area.row) & (row < area.row_stop) & (col >= area.col) & (col < area.col_stop)
    chips = np.zeros(len(labels), CHIP)
    chips["feature"], chips["value"] = labels.positions, labels.values
    windows = windows_around(boxes, tile, fixed=fixed)
    for side, name in enumerate(("row", "col", "height", "width")):
        chips[name] = windows[:, side]
    if min_share:
        left, top = chips["col"], chips["row"]
        frames = shapely.box(left, top, left + chips["width"], top + chips["height"])
        kept &= shapely.area(shapely.intersection(in_pixels, frames)) >= min_share * shapely.area(in_pixels)
    return chips[kept]


def _with_share(
    labels: Labels, grid: Grid, scan: Scan, positions: np.ndarray, chips: np.ndarray, min_share: float
) -> np.ndarray:
    windows = [window_of(chip) for chip in scan.chips(positions[chips])]
    if not windows:
        return chips
    return chips[objects_of_chips(labels, grid, windows, min_share=min_share).counts > 0]


def _rows_of(geometries: np.ndarray, grid: Grid) -> tuple[float, float]:
    west, south, east, north = shapely.total_bounds(geometries)
    box = np.array([(west, south), (west, north), (east, south), (east, north)])
    rows = to_pixels(box, grid)[:, 1]
    return float(rows.min()), float(rows.max())


def _starts(origin: int, length: int, tile: int, stride: int) -> np.ndarray:
    return np.arange(origin, max(origin + length - tile, origin) + 1, stride, dtype=np.int64)


def _step(starts: np.ndarray) -> int:
    return int(starts[1] - starts[0]) if len(starts) > 1 else 1
