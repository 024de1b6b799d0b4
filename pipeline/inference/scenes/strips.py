"""Pixels of many chips of one neighbourhood: each block of the raster is read once, and soon let go."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rasterloom.pipeline.rasters.grid import Window

BLOCK = 512
"""Side of the squares that are read whole, in pixels: the blocks of most files fit into them."""

Read = Callable[[Window], tuple[np.ndarray, np.ndarray]]
"""From a window inside the raster to its pixels (band, row, column), and whether each is valid."""


@dataclass(frozen=True, eq=False)
class _Run:
    """Neighbouring blocks of one row of blocks."""

    first: int
    stop: int
    pixels: np.ndarray
    valid: np.ndarray


class Strips:
    """The pixels around chips whose upper edges go down the rows of blocks.

    Of each row of blocks those that some chip shows are read when the first chip asks for them, and forgotten
    when chips begin below.
    """

    def __init__(self, read: Read, shape: tuple[int, int], windows: np.ndarray) -> None:
        """Say which chips will be asked for.

        Parameters
        ----------
        read
            Reads pixels.
        shape
            Raster size, (height, width).
        windows
            (n, 4): row, column, height, width of all chips, by ascending row of blocks of their upper edge.
        """
        self._read, self._shape = read, shape
        self._plan = runs_of_blocks(windows, shape)
        self._held: dict[int, list[_Run]] = {}

    def chip(self, window: Window) -> tuple[np.ndarray, np.ndarray] | None:
        """Pixels (band, row, column) and validity of a chip; 0 where nothing is. None beside the raster.

        Raises
        ------
        ReadError
            If pixels cannot be read.
        """
        inside = window.clipped(self._shape)
        if not inside.height or not inside.width:
            return None
        for strip in [known for known in self._held if known < inside.row // BLOCK]:
            del self._held[strip]
        found: tuple[np.ndarray, np.ndarray] | None = None
        for strip in range(inside.row // BLOCK, (inside.row_stop - 1) // BLOCK + 1):
            run = self._run(strip, inside.col // BLOCK)
            top, bottom = max(inside.row, strip * BLOCK), min(inside.row_stop, (strip + 1) * BLOCK)
            source = slice(top - strip * BLOCK, bottom - strip * BLOCK)
            cols = slice(inside.col - run.first * BLOCK, inside.col_stop - run.first * BLOCK)
            if found is None:
                shape = (window.height, window.width)
                pixels = np.zeros((len(run.pixels), *shape), run.pixels.dtype)
                found = pixels, np.zeros(shape, bool)
            place = (
                slice(top - window.row, bottom - window.row),
                slice(inside.col - window.col, inside.col_stop - window.col),
            )
            found[0][:, *place], found[1][place] = run.pixels[:, source, cols], run.valid[source, cols]
        return found

    def _run(self, strip: int, block: int) -> _Run:
        """The run that holds a block, read with the others of its row."""
        if strip not in self._held:
            self._held[strip] = [self._loaded(strip, *span) for span in self._plan[strip]]
        return next(run for run in self._held[strip] if run.first <= block < run.stop)

    def _loaded(self, strip: int, first: int, stop: int) -> _Run:
        window = Window(strip * BLOCK, first * BLOCK, BLOCK, (stop - first) * BLOCK).clipped(self._shape)
        pixels, valid = self._read(window)
        if not valid.all():
            pixels[:, ~valid] = 0
        return _Run(first, stop, pixels, valid)


def runs_of_blocks(windows: np.ndarray, shape: tuple[int, int]) -> dict[int, list[tuple[int, int]]]:
    """Which blocks some chips show: for each row of blocks, first and one past the last of neighbours.

    Parameters
    ----------
    windows
        (n, 4): row, column, height, width of the chips.
    shape
        Raster size, (height, width).
    """
    start = np.clip(windows[:, :2], 0, shape)
    stop = np.clip(windows[:, :2] + windows[:, 2:], 0, shape)
    seen = (start < stop).all(axis=1)
    first, last = start[seen] // BLOCK, (stop[seen] - 1) // BLOCK
    touched: dict[int, set[tuple[int, int]]] = defaultdict(set)
    spans = np.unique(np.concatenate([first, last], axis=1), axis=0).tolist() if seen.any() else []
    for row, col, row_last, col_last in spans:
        for strip in range(row, row_last + 1):
            touched[strip].add((col, col_last + 1))
    return {strip: _joined(sorted(touched[strip])) for strip in sorted(touched)}


def pixels_of_blocks(runs: dict[int, list[tuple[int, int]]], shape: tuple[int, int]) -> int:
    """How many pixels of the raster the blocks hold."""
    total = 0
    for strip, spans in runs.items():
        height = min(BLOCK, shape[0] - strip * BLOCK)
        total += height * sum(min(stop * BLOCK, shape[1]) - first * BLOCK for first, stop in spans)
    return total


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in ascending order, those that touch or overlap as one."""
    joined = [spans[0]]
    for first, stop in spans[1:]:
        if first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], stop)
        else:
            joined.append((first, stop))
    return joined
