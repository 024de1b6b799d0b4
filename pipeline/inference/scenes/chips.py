"""Where the chips around objects lie, sorted so that neighbours are computed together, in files for tasks."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import shapely
from pyproj import CRS

from rasterloom.cluster.places import Place
from rasterloom.models.errors import CrsError, LabelError
from rasterloom.pipeline.inference.scenes.answers import to_bytes
from rasterloom.pipeline.inference.scenes.arguments import SceneArguments
from rasterloom.pipeline.inference.scenes.strips import BLOCK, pixels_of_blocks, runs_of_blocks
from rasterloom.pipeline.labels.centred import middles_of, windows_around
from rasterloom.pipeline.labels.features import on_grid
from rasterloom.pipeline.labels.ordering import Sorter
from rasterloom.pipeline.labels.runs import to_pixels
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.grid import Grid, Window

MOST = 16_384
"""Chips of one task, at most."""

COUNTS = "chips.json"
"""Name of the file that says how many chips each task has."""

SIDES = ("row", "col", "height", "width")
"""Columns that say where a chip lies."""

_SIDE = 4096
"""Side of what one task owns, in pixels, for tiles of an eighth of it and less."""

STRIP_BYTES = 48 << 20
"""Most that the pixels of one row of blocks may take in memory."""

_NUMBERS = ("position", *SIDES)

_SCHEMA = pyarrow.schema(
    [
        *((name, pyarrow.int64()) for name in _NUMBERS),
        ("x", pyarrow.float64()),
        ("y", pyarrow.float64()),
        ("shape", pyarrow.binary()),
    ]
)
"""Position of the object in its layer; its chip; its middle, in pixels; its outline where that is needed."""


@dataclass(frozen=True)
class ChipCells:
    """Which task computes a chip: by the chip's upper left corner."""

    shape: tuple[int, int]
    """Raster size, (height, width)."""
    height: int
    """Of a cell, in whole blocks."""
    width: int

    def keys(self, windows: np.ndarray) -> np.ndarray:
        """(n,) int64, in the order in which chips are computed: by cell, in it by rows of blocks."""
        top = np.clip(windows[:, 0], 0, self.shape[0] - 1)
        left = np.clip(windows[:, 1], 0, self.shape[1] - 1)
        down, across = self.height // BLOCK, self.width // BLOCK
        cell = top // self.height * -(-self.shape[1] // self.width) + left // self.width
        block = top % self.height // BLOCK * across + left % self.width // BLOCK
        return np.asarray(cell * (down * across) + block)

    def cells(self, keys: np.ndarray) -> np.ndarray:
        """(n,) int64, the cell of each key."""
        return keys // ((self.height // BLOCK) * (self.width // BLOCK))


def cut_chip_cells(
    shape: tuple[int, int], *, tile: int, pixel_bytes: int, striped: bool, cell_size: int | None = None
) -> ChipCells:
    """Cells that are so large that what two of them read is little, and so small that memory is bounded.

    Parameters
    ----------
    shape
        Raster size, (height, width).
    tile
        Side of a chip.
    pixel_bytes
        What a pixel takes in memory, all bands.
    striped
        Whether the file's blocks are as wide as the raster: cells then are, too, as far as memory goes.
    cell_size
        The wanted side; None takes what is said above.
    """
    most = max(1, STRIP_BYTES // (BLOCK * BLOCK * pixel_bytes))  # blocks side by side
    high = wide = max(_SIDE, 8 * tile)
    if striped:
        wide = max(wide, shape[1])
    if cell_size is not None:
        high = wide = cell_size
    return ChipCells(shape, -(-high // BLOCK) * BLOCK, min(-(-wide // BLOCK), most) * BLOCK)


@dataclass(frozen=True)
class PreparedChips:
    """The chips of a run, in files of a folder of this machine."""

    folder: Path
    counts: tuple[int, ...]
    """Chips of each file, one for each task."""
    features: int
    """Objects of the layer, those without a chip included."""
    outside: int
    """Objects whose middle lies outside of the part that is computed."""
    empty: int
    """Objects without a geometry, or with one that lies nowhere."""
    pixels_read: int
    digest: str
    """SHA-256 of all chips."""

    @property
    def count(self) -> int:
        """Chips of all files."""
        return sum(self.counts)

    def place(self, place: Place) -> None:
        """Put the files where tasks read them."""
        place.write(COUNTS, json.dumps(self.counts).encode())
        for number in range(len(self.counts)):
            place.write(chip_file(number), (self.folder / chip_file(number)).read_bytes())


def chip_file(number: int) -> str:
    """Name of the file with the chips of a task."""
    return f"chips-{number:06d}.arrow"


def prepare_chips(
    source: FeatureSource,
    grid: Grid,
    extent: Window,
    cells: ChipCells,
    arguments: SceneArguments,
    folder: Path,
) -> PreparedChips:
    """Lay a chip around each object of a layer, whatever its size, and write them for tasks.

    Parameters
    ----------
    grid, extent
        Of the raster, and the part of it that the middle of an object must lie in.
    folder
        An empty folder for the files, and for sorting.

    Raises
    ------
    CrsError
        If the layer has no CRS, or cannot be projected into the raster's.
    LabelError
        If no object lies on the raster, or points and lines cannot be cut to their size.
    """
    if source.crs is None:
        raise CrsError(
            f"{source.name} has no coordinate reference system, so nobody knows where its features lie: set "
            "it, with GeoDataFrame.set_crs('EPSG:...') or ogr2ogr -a_srs."
        )
    layout = _Layout(source, CRS.from_wkt(source.crs), grid, extent, cells, arguments)
    with Sorter(("key", "position"), folder) as sorter:
        for table in layout.tables():
            sorter.add(table)
        counts, pixels, digest = _write(sorter.blocks(), cells, folder)
    if not counts:
        raise LabelError(
            f"none of the {layout.features} features of {source.name} lies on the raster, which covers "
            f"{tuple(round(side, 3) for side in grid.cropped(extent).bounds)} in its CRS: give features of "
            "the same place, or check the layer's CRS."
        )
    return PreparedChips(folder, tuple(counts), layout.features, layout.outside, layout.empty, pixels, digest)


class _Layout:
    """Chips around the objects of a layer, a block of them after the other."""

    def __init__(
        self,
        source: FeatureSource,
        crs: Any,
        grid: Grid,
        extent: Window,
        cells: ChipCells,
        arguments: SceneArguments,
    ) -> None:
        self._source, self._crs, self._grid, self._extent = source, crs, grid, extent
        self._cells, self._arguments = cells, arguments
        self.features = self.outside = self.empty = 0

    def tables(self) -> Iterator[Any]:
        for block in self._source.blocks([]):
            shapes = on_grid(np.asarray(block.geometry, object), self._crs, self._grid)
            there = np.flatnonzero(~shapely.is_missing(shapes))
            positions = self.features + there
            self.features += len(block)
            self.empty += len(block) - len(there)
            if len(there):
                yield from self._around(positions, shapes[there])

    def _around(self, positions: np.ndarray, shapes: np.ndarray) -> Iterator[Any]:
        boxes = shapely.bounds(shapely.transform(shapes, lambda xy: to_pixels(xy, self._grid)))
        part = self._extent
        row, col = middles_of(boxes).T
        inside = (row >= part.row) & (row < part.row_stop) & (col >= part.col) & (col < part.col_stop)
        kept = np.flatnonzero(inside)
        self.outside += len(shapes) - len(kept)
        if not len(kept):
            return
        self._check_sizes(shapes[kept])
        tile, fixed = self._arguments.tile_size, self._arguments.fix_chip_size
        windows = windows_around(boxes[kept], (tile, tile), fixed=fixed)
        outlines = [None] * len(kept)
        if self._arguments.blacken_around_feature:
            outlines = shapely.to_wkb(shapes[kept], byte_order=1)
        columns = [self._cells.keys(windows), positions[kept], *windows.T, col[kept], row[kept]]
        arrays = [pyarrow.array(np.ascontiguousarray(column)) for column in columns]
        yield pyarrow.table([*arrays, pyarrow.array(outlines, pyarrow.binary())], ["key", *_SCHEMA.names])

    def _check_sizes(self, shapes: np.ndarray) -> None:
        flat = int((shapely.get_dimensions(shapes) < 2).sum())
        if flat and not self._arguments.fix_chip_size:
            raise LabelError(
                f"{self._source.name} holds points or lines, which have no area, and this model looks at "
                "chips of the size of each object: give polygons, or "
                'model_arguments={"fix_chip_size": True}.'
            )


def _write(tables: Iterator[Any], cells: ChipCells, folder: Path) -> tuple[list[int], int, str]:
    """Write one file for each task; the chips of each, the pixels they need, and a hash of it all."""
    counts: list[int] = []
    pixels = 0
    digest = hashlib.sha256()
    for table in _tasks(tables, cells):
        chips = table.select(_SCHEMA.names).cast(_SCHEMA).combine_chunks()
        content = to_bytes(chips)
        digest.update(content)
        (folder / chip_file(len(counts))).write_bytes(content)
        windows = np.stack([chips[side].to_numpy() for side in SIDES], axis=1)
        pixels += pixels_of_blocks(runs_of_blocks(windows, cells.shape), cells.shape)
        counts.append(len(chips))
    return counts, pixels, digest.hexdigest()


def _tasks(tables: Iterator[Any], cells: ChipCells) -> Iterator[Any]:
    """Sorted rows, those of one cell together, at most MOST of them."""
    waiting: list[Any] = []
    rows, current = 0, -1
    for table in tables:
        cell = cells.cells(table["key"].to_numpy())
        starts = np.flatnonzero(np.diff(cell, prepend=cell[:1] - 1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(cell)], strict=True):
            while start < stop:
                if rows and (int(cell[start]) != current or rows == MOST):
                    yield pyarrow.concat_tables(waiting)
                    waiting, rows = [], 0
                current = int(cell[start])
                count = min(stop - start, MOST - rows)
                waiting.append(table.slice(start, count))
                rows, start = rows + count, start + count
    if rows:
        yield pyarrow.concat_tables(waiting)
