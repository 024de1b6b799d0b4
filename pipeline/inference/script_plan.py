"""What a run of an inference function will do: pure, deterministic, small enough to send with every task."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from rasterloom.cluster.places import Place
from rasterloom.pipeline.functions.configuration import OutputInfo
from rasterloom.pipeline.functions.tiles import RasterFacts
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.sizing import CELL_BYTES, FEWEST_CELLS, USUAL_SIDE
from rasterloom.pipeline.inference.wanted import Mask
from rasterloom.pipeline.rasters.grid import Grid, Window, read_crs
from rasterloom.pipeline.rasters.raster import Raster


@dataclass(frozen=True)
class ScriptCells:
    """A raster cut into the tiles of an inference function, and cells of what one task owns.

    Both are anchored at the raster's own origin. Tiles need not be square.
    """

    shape: tuple[int, int]
    """Raster size in pixels, (height, width)."""
    extent: Window
    """The part that is computed."""
    tile: tuple[int, int]
    """Height and width of what comes out of a tile, in pixels."""
    padding: int
    """Pixels around it that the function sees, on each side."""
    tiles: tuple[int, int]
    """Height and width of a cell, in tiles."""

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of a cell, in pixels."""
        return self.tiles[0] * self.tile[0], self.tiles[1] * self.tile[1]

    @property
    def whole(self) -> CellBlock:
        """All cells that the extent meets."""
        return CellBlock(*_covering(self.extent, self.sides))

    def window(self, row: int, col: int) -> Window:
        """Pixels that a cell owns, inside the extent."""
        (height, width), extent = self.sides, self.extent
        top, left = max(row * height, extent.row), max(col * width, extent.col)
        bottom, right = min((row + 1) * height, extent.row_stop), min((col + 1) * width, extent.col_stop)
        return Window(top, left, bottom - top, right - left)

    def tile_windows(self, window: Window) -> Iterator[Window]:
        """What comes out of each tile that meets ``window``, row-major; it may reach beyond both."""
        height, width = self.tile
        first_row, first_col, rows, cols = _covering(window, self.tile)
        for row in range(first_row, first_row + rows):
            for col in range(first_col, first_col + cols):
                yield Window(row * height, col * width, height, width)

    def read_window(self, window: Window) -> Window:
        """Pixels that the tiles of ``window`` see; it may reach beyond the raster."""
        height, width = self.tile
        row, col, rows, cols = _covering(window, self.tile)
        return Window(row * height, col * width, rows * height, cols * width).padded(self.padding)


def _covering(window: Window, sides: tuple[int, int]) -> tuple[int, int, int, int]:
    """First row and column, rows and columns of the rectangles of a size that meet a window."""
    row, col = window.row // sides[0], window.col // sides[1]
    row_stop, col_stop = -(-window.row_stop // sides[0]), -(-window.col_stop // sides[1])
    return row, col, row_stop - row, col_stop - col


def cut_script_cells(
    shape: tuple[int, int],
    extent: Window,
    *,
    tile: tuple[int, int],
    padding: int,
    cell_size: int | None,
    pixel_bytes: int,
) -> ScriptCells:
    """Cut a raster into cells of whole tiles. The result of a run does not depend on their size.

    Parameters
    ----------
    shape
        Raster size, (height, width).
    extent
        The part to compute.
    tile, padding
        As the function says, in pixels.
    cell_size
        Wanted side of a cell in pixels, above 0; it becomes the next whole number of tiles. None takes about
        1024.
    pixel_bytes
        What is kept of each pixel until its cell is done.
    """
    area = extent.height * extent.width
    most = min(USUAL_SIDE, math.isqrt(CELL_BYTES // pixel_bytes), math.isqrt(area // FEWEST_CELLS))
    rows, cols = (
        -(-cell_size // side) if cell_size is not None else max(1, round(most / side)) for side in tile
    )
    return ScriptCells(shape, extent, tile, padding, (rows, cols))


def facts_of(raster: Raster, bands: tuple[int, ...]) -> RasterFacts:
    """What an inference function is told of a raster."""
    grid = raster.grid
    return RasterFacts(
        bands=len(bands),
        dtype=raster.dtype,
        shape=grid.shape,
        bounds=grid.bounds,
        cell_size=grid.cell_size,
        crs=read_crs(grid.crs).to_epsg() or grid.crs,
        nodata=raster.nodata,
    )


@dataclass(frozen=True, kw_only=True)
class ScriptPlan:
    """Run one inference function over one raster."""

    name: str
    """What messages call its package."""
    raster: Raster
    """On the grid it is read on."""
    cells: ScriptCells
    package: str
    """Path of the package, where every worker can read it."""
    digest: str
    """Content hash of the package."""
    bands: tuple[int, ...]
    """0-based bands of the raster, as the function asks for them."""
    scalars: tuple[tuple[str, str], ...]
    """What the function is told, by name."""
    output: OutputInfo
    """What it makes."""
    device: str
    """``cpu`` or ``cuda``."""
    mask: Mask | None = None
    """Where results are wanted; None: everywhere."""
    tiles: Place | None = None
    """Folder that takes the finished cells; None while there is none."""

    @property
    def id(self) -> str:
        """Hash of everything that decides what the cells hold, and where they are cut."""
        parts = {
            "version": 1,
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "cells": asdict(self.cells),
            "function": self.digest,
            "bands": self.bands,
            "scalars": self.scalars,
            "output": [self.output.bands, self.output.dtype, str(self.output.nodata)],
            "device": self.device,
            "mask": self.mask and self.mask.digest,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def facts(self) -> RasterFacts:
        """What the function is told of the raster."""
        return facts_of(self.raster, self.bands)

    @property
    def grid(self) -> Grid:
        """Grid of the output."""
        return self.raster.grid.cropped(self.cells.extent)

    @property
    def nothing(self) -> np.generic:
        """Value of a pixel without an answer, in the output's type."""
        return np.dtype(self.output.dtype).type(self.output.nodata)

    @property
    def cell_count(self) -> int:
        return self.cells.whole.cells

    @property
    def batch_count(self) -> int:
        return self.cells.whole.batch_count

    def batches(self) -> Iterator[CellBlock]:
        return self.cells.whole.batches()
