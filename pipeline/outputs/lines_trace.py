"""From the pixels of thin lines to arcs, in one part of a raster."""

from dataclasses import dataclass

import numpy as np

from rasterloom.pipeline.outputs.lines_chains import chains_of
from rasterloom.pipeline.rasters.grid import Window

STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""The four ways from a pixel to one after it, as rows and columns: right, down, and the two slants."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """Lines from pixel to pixel, that meet in nothing but their ends."""

    pixels: np.ndarray
    """(m,) int64, arc by arc, both ends included: row * width of the raster + column."""
    starts: np.ndarray
    """(n + 1,) int64, where each arc begins in ``pixels``, and where the last one ends."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def ends(self) -> np.ndarray:
        """(n, 2) int64, the first and the last pixel of each."""
        return np.stack([self.pixels[self.starts[:-1]], self.pixels[self.starts[1:] - 1]], axis=1)

    def steps(self, width: int) -> np.ndarray:
        """(n, 4) int64, how many steps of each of STEPS an arc has, whichever way they are gone."""
        if not len(self):
            return np.zeros((0, len(STEPS)), np.int64)
        moves = np.abs(np.diff(self.pixels))
        kinds = [moves == row * width + col for row, col in STEPS]
        # where one arc ends and the next begins is no step
        counts = np.cumsum(np.pad(np.stack(kinds, axis=1), ((1, 1), (0, 0))), axis=0)
        first, last = self.starts[:-1], self.starts[1:] - 1
        return np.asarray(counts[last] - counts[first])


def arcs_of(thin: np.ndarray, window: Window, width: int) -> Arcs:
    """Cut the lines in a part of a raster into arcs.

    Two pixels are joined if they share a side, or a corner while neither pixel beside both is set. Arcs end
    where not just two pixels are joined to one: at ends, and where lines meet. They also end at the last
    pixel inside the part. A step out of the part is an arc of its own, and belongs to the part that has its
    first pixel, so that every step between two pixels of the raster is in one arc of one part.

    Parameters
    ----------
    thin
        (height + 2, width + 2) of bool: the part, and one pixel around it.
    window
        The part.
    width
        Pixels in a row as they are numbered: no less than the raster has, and 3 at least.

    Returns
    -------
    Arcs
        A ring begins at its first pixel. A pixel without neighbours is none.
    """
    rows, cols = np.nonzero(thin)
    number = np.full(thin.shape, -1, np.int64)
    number[rows, cols] = np.arange(len(rows))
    links = _links(thin, number)
    inside = (rows >= 1) & (rows <= window.height) & (cols >= 1) & (cols <= window.width)
    names = (rows + window.row - 1) * width + (cols + window.col - 1)
    links = links[inside[links].any(axis=1)]
    own = inside[links].all(axis=1)
    degree = np.bincount(links.reshape(-1), minlength=len(rows))
    stops = degree != 2
    stops[links[~own]] = True
    chains = chains_of(links[own], stops)
    path, starts = _path(links[own], chains.links, chains.turned, chains.starts)
    out = links[~own]
    out = out[inside[out[:, 0]]]  # links run from the earlier pixel to the later one
    pixels = np.concatenate([path, out.reshape(-1)])
    starts = np.concatenate([starts, starts[-1] + 2 * np.arange(1, len(out) + 1)])
    return Arcs(names[pixels].astype(np.int64), starts)


def _links(thin: np.ndarray, number: np.ndarray) -> np.ndarray:
    """(n, 2) pairs of joined pixels, by their numbers, the earlier one of the raster first."""
    pairs = []
    for row, col in STEPS:
        here, there = _shifted(thin, row, col)
        joined = here & there
        if row and col:
            below, beside = _corners(thin, col)
            joined &= ~(below | beside)
        one, other = _shifted(number, row, col)
        pairs.append(np.stack([one[joined], other[joined]], axis=1))
    return np.concatenate(pairs)


def _shifted(array: np.ndarray, row: int, col: int) -> tuple[np.ndarray, np.ndarray]:
    """The array, and the array one step further, where both are."""
    height, width = array.shape
    left, right = max(0, -col), width - max(0, col)
    return array[: height - row, left:right], array[row:, left + col : right + col]


def _corners(thin: np.ndarray, col: int) -> tuple[np.ndarray, np.ndarray]:
    """The two pixels beside both ends of a slanting step."""
    left, right = (thin[:, :-1], thin[:, 1:]) if col > 0 else (thin[:, 1:], thin[:, :-1])
    return left[1:], right[:-1]


def _path(
    links: np.ndarray, order: np.ndarray, turned: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The points along chains of links, and where each chain's begin."""
    first = np.where(turned, links[order, 1], links[order, 0])
    last = np.where(turned, links[order, 0], links[order, 1])
    ends = starts[1:] - 1  # the last link of each chain
    path = np.insert(first, starts[1:], last[ends])
    return path, starts + np.arange(len(starts))
