"""Who computes which pixels: cells of whole strides, and rectangles of cells."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.tiles import stride_of

CELL_SIDE = 1024
"""Usual side of a cell in pixels: a halo of 64 then costs a quarter more reading."""

MOST_BATCHES = 10_000
"""Above this many cells, several go into one batch, so that the scheduler's work stays small."""


@dataclass(frozen=True)
class CellBlock:
    """A rectangle of neighbouring cells: the work of one task."""

    row: int
    """First cell row."""
    col: int
    """First cell column."""
    rows: int
    """Cells down."""
    cols: int
    """Cells across."""

    @property
    def id(self) -> str:
        return f"{self.row}_{self.col}_{self.rows}_{self.cols}"

    @property
    def cells(self) -> int:
        return self.rows * self.cols

    def halves(self) -> "tuple[CellBlock, CellBlock] | None":
        """The block cut across its longer side; None when it is a single cell."""
        if self.cells == 1:
            return None
        if self.rows >= self.cols:
            cut = self.rows // 2
            return (
                CellBlock(self.row, self.col, cut, self.cols),
                CellBlock(self.row + cut, self.col, self.rows - cut, self.cols),
            )
        cut = self.cols // 2
        return (
            CellBlock(self.row, self.col, self.rows, cut),
            CellBlock(self.row, self.col + cut, self.rows, self.cols - cut),
        )

    def positions(self) -> Iterator[tuple[int, int]]:
        """Row and column of every cell, row-major."""
        for row in range(self.row, self.row + self.rows):
            for col in range(self.col, self.col + self.cols):
                yield row, col

    def cell_ids(self) -> Iterator[str]:
        return (cell_id(row, col) for row, col in self.positions())


def cell_id(row: int, col: int) -> str:
    """The name of a cell, in file names and reports."""
    return f"{row}_{col}"


@dataclass(frozen=True)
class CellGrid:
    """A raster cut into chips of what the network sees, and cells of what one task owns.

    Chips and cells are anchored at the raster's own origin, so that the same pixel falls into the same chip
    whatever part of the raster is asked for.
    """

    shape: tuple[int, int]
    """Raster size in pixels, (height, width)."""
    extent: Window
    """The part that is computed."""
    tile: int
    """Side of a chip, in pixels."""
    padding: int
    """Pixels of a prediction that are dropped on each side."""
    strides: int
    """Side of a cell, in strides."""

    @property
    def stride(self) -> int:
        return stride_of(self.tile, self.padding)

    @property
    def side(self) -> int:
        """Side of a cell, in pixels."""
        return self.strides * self.stride

    @property
    def whole(self) -> CellBlock:
        """All cells that the extent meets."""
        row, col = self.extent.row // self.side, self.extent.col // self.side
        row_stop = -(-self.extent.row_stop // self.side)
        col_stop = -(-self.extent.col_stop // self.side)
        return CellBlock(row, col, row_stop - row, col_stop - col)

    def window(self, row: int, col: int) -> Window:
        """Pixels that a cell owns, inside the extent."""
        top, left = max(row * self.side, self.extent.row), max(col * self.side, self.extent.col)
        bottom = min((row + 1) * self.side, self.extent.row_stop)
        right = min((col + 1) * self.side, self.extent.col_stop)
        return Window(top, left, bottom - top, right - left)

    def chip_span(self, window: Window) -> Window:
        """Chips, as rows and columns of the chip grid, whose kept centres meet ``window``."""
        row, col = window.row // self.stride, window.col // self.stride
        row_stop = -(-window.row_stop // self.stride)
        col_stop = -(-window.col_stop // self.stride)
        return Window(row, col, row_stop - row, col_stop - col)

    def read_window(self, chips: Window) -> Window:
        """Pixels that those chips see, halo included; it may reach beyond the raster."""
        kept = Window(
            chips.row * self.stride,
            chips.col * self.stride,
            chips.height * self.stride,
            chips.width * self.stride,
        )
        return kept.padded(self.padding)

    def block_side(self) -> int:
        """Cells on each side of a batch."""
        return max(1, math.ceil(math.sqrt(self.whole.cells / MOST_BATCHES)))

    @property
    def batch_count(self) -> int:
        side = self.block_side()
        return -(-self.whole.rows // side) * -(-self.whole.cols // side)

    def batches(self) -> Iterator[CellBlock]:
        """Compact rectangles of cells, row-major, made one at a time."""
        side, whole = self.block_side(), self.whole
        for row in range(whole.row, whole.row + whole.rows, side):
            for col in range(whole.col, whole.col + whole.cols, side):
                rows = min(side, whole.row + whole.rows - row)
                cols = min(side, whole.col + whole.cols - col)
                yield CellBlock(row, col, rows, cols)


def cut_cells(
    shape: tuple[int, int], extent: Window, *, tile: int, padding: int, cell_size: int | None = None
) -> CellGrid:
    """Cut a raster into cells of about ``cell_size`` pixels.

    Parameters
    ----------
    shape
        Raster size, (height, width).
    extent
        The part to compute.
    tile, padding
        As the network is run, in pixels.
    cell_size
        Wanted side of a cell in pixels; it becomes the next whole number of strides. None takes 1024.
        The result does not depend on it.

    Raises
    ------
    SettingError
        If the padding leaves nothing of the tile, or the cell size is not positive.
    """
    stride = stride_of(tile, padding)
    if cell_size is not None and cell_size < 1:
        raise SettingError(f"cell_size={cell_size} cannot work: use a positive number of pixels.")
    return CellGrid(shape, extent, tile, padding, max(1, -(-(cell_size or CELL_SIDE) // stride)))
