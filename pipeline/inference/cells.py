"""Who computes which pixels: cells of whole strides, and rectangles of cells."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.tiles import stride_of

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

    def block_side(self) -> int:
        """Cells on each side of a batch, where this is all there is to do."""
        return max(1, math.ceil(math.sqrt(self.cells / MOST_BATCHES)))

    @property
    def batch_count(self) -> int:
        side = self.block_side()
        return -(-self.rows // side) * -(-self.cols // side)

    def batches(self) -> "Iterator[CellBlock]":
        """Compact rectangles of its cells, row-major, made one at a time."""
        side = self.block_side()
        for row in range(self.row, self.row + self.rows, side):
            for col in range(self.col, self.col + self.cols, side):
                rows, cols = min(side, self.row + self.rows - row), min(side, self.col + self.cols - col)
                yield CellBlock(row, col, rows, cols)


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
    whole_tiles: bool = False
    """Whether all of a tile's prediction counts, as in blending, or only its centre."""
    reach: int = 0
    """Pixels around its own that a cell must know the answer for."""

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

    def target(self, window: Window) -> Window:
        """Pixels to predict for the sake of ``window``: those within reach that the raster has."""
        return window.padded(self.reach).clipped(self.shape)

    def chip_span(self, window: Window) -> Window:
        """Chips, as rows and columns of the chip grid, whose predictions count for ``window``."""
        row, row_stop = self._span(window.row, window.row_stop, self.shape[0])
        col, col_stop = self._span(window.col, window.col_stop, self.shape[1])
        return Window(row, col, row_stop - row, col_stop - col)

    def _span(self, start: int, stop: int, size: int) -> tuple[int, int]:
        stride, padding = self.stride, self.padding
        if not self.whole_tiles:
            return start // stride, -(-stop // stride)
        first = (start + padding - self.tile) // stride + 1
        return max(first, 0), min(-(-(stop + padding) // stride), -(-size // stride))

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
        return self.whole.block_side()

    @property
    def batch_count(self) -> int:
        return self.whole.batch_count

    def batches(self) -> Iterator[CellBlock]:
        """Compact rectangles of cells, row-major, made one at a time."""
        return self.whole.batches()
