"""How large a cell should be: few wasted chips, little read twice, bounded memory, enough cells to share."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.cells import CellGrid
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.tiles import stride_of

USUAL_SIDE = 1024
"""Side of a cell, in pixels, that others are compared with."""

MOST_SIDE = 1792
"""Largest side that is chosen unasked."""

FEWEST_CELLS = 4
"""A raster is cut into at least about so many, so that several workers have something to do."""

CELL_BYTES = 64 * 2**20
"""Most that the predictions of one cell may take while it is computed."""

_READING = 0.02
"""Cost of reading and writing a pixel, as a share of the cost of predicting it."""


def cut_cells(
    shape: tuple[int, int],
    extent: Window,
    *,
    tile: int,
    padding: int,
    cell_size: int | None = None,
    batch_size: int = 1,
    pixel_bytes: int = 1,
    whole_tiles: bool = False,
    reach: int = 0,
) -> CellGrid:
    """Cut a raster into cells. The result of a run does not depend on their size.

    Parameters
    ----------
    shape
        Raster size, (height, width).
    extent
        The part to compute.
    tile, padding
        As the network is run, in pixels.
    cell_size
        Wanted side of a cell in pixels; it becomes the next whole number of strides. None takes the size near
        1024 that wastes the fewest chips, at most 1792.
    batch_size
        Chips in a forward pass.
    pixel_bytes
        What is kept of each pixel until its cell is done.
    whole_tiles, reach
        As in :class:`CellGrid`.

    Raises
    ------
    SettingError
        If the padding leaves nothing of the tile, or the cell size is not positive.
    """
    stride = stride_of(tile, padding)
    if cell_size is not None and cell_size < 1:
        raise SettingError(f"cell_size={cell_size} cannot work: use a positive number of pixels.")
    grid = CellGrid(shape, extent, tile, padding, 1, whole_tiles, reach)
    if cell_size is not None:
        return replace(grid, strides=-(-cell_size // stride))
    sides = _candidates(grid, pixel_bytes)
    return replace(grid, strides=min(sides, key=lambda n: _cost(replace(grid, strides=n), batch_size)))


def _candidates(grid: CellGrid, pixel_bytes: int) -> range:
    """Sides in strides, from about half the usual one to the largest that memory and sharing allow."""
    area = grid.extent.height * grid.extent.width
    most = min(MOST_SIDE, math.isqrt(CELL_BYTES // pixel_bytes), math.isqrt(area // FEWEST_CELLS))
    last = max(1, most // grid.stride)
    return range(max(1, min(last, USUAL_SIDE // 2 // grid.stride)), last + 1)


def chip_counts(grid: CellGrid) -> Iterator[tuple[int, int, int]]:
    """Chip rows and columns that a cell needs, and how many cells need just so many.

    Counted along the two axes, so that a million cells take no longer than a thousand.
    """
    heights = Counter(_axis(grid, grid.extent.row, grid.extent.row_stop, down=True))
    widths = Counter(_axis(grid, grid.extent.col, grid.extent.col_stop, down=False))
    for rows, down in heights.items():
        for cols, across in widths.items():
            yield rows, cols, down * across


def _cost(grid: CellGrid, batch_size: int) -> float:
    """Chips computed, wasted ones included, and pixels read, in units of a chip."""
    total = 0.0
    for rows, cols, times in chip_counts(grid):
        passes = -(-rows * cols // batch_size)
        read = (rows * grid.stride + 2 * grid.padding) * (cols * grid.stride + 2 * grid.padding)
        total += times * (passes * batch_size + _READING * read / grid.stride**2)
    return total


def _axis(grid: CellGrid, start: int, stop: int, *, down: bool) -> list[int]:
    """Chips across each cell of a row or column of cells."""
    counts = []
    for cell in range(start // grid.side, -(-stop // grid.side)):
        first, last = max(cell * grid.side, start), min((cell + 1) * grid.side, stop)
        window = Window(first, grid.extent.col, last - first, 1)
        if not down:
            window = Window(grid.extent.row, first, 1, last - first)
        span = grid.chip_span(grid.target(window))
        counts.append(span.height if down else span.width)
    return counts
