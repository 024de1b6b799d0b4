"""Which bodies are small, when no cell has seen all of them."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rasterloom.pipeline.inference.cells import CellBlock

Sides = Mapping[str, np.ndarray]
"""Of a cell: ``pixels`` of each body, from 0 for none, and the bodies along its sides, by their names."""


def large_bodies(cells: Mapping[tuple[int, int], Sides], whole: CellBlock, fewest: float) -> np.ndarray:
    """Whether each body has ``fewest`` pixels or more, all of its parts in all cells together.

    Parameters
    ----------
    cells
        By row and column; a cell without bodies may be left out.
    whole
        All cells of the run.
    fewest
        In pixels.

    Returns
    -------
    ndarray
        (n,) bool for all bodies of all cells, row-major, with the 0 of each cell, which is none.
    """
    places = [place for place in whole.positions() if place in cells]
    begin, count = {}, 0
    for place in places:
        begin[place] = count
        count += len(cells[place]["pixels"])
    pairs = [np.zeros((2, 0), np.int64)]
    for row, col in places:
        here = (row, col)
        for other, mine, theirs in (
            ((row, col + 1), "right", "left"),
            ((row + 1, col), "bottom", "top"),
            ((row + 1, col + 1), "bottom", "top"),
            ((row + 1, col - 1), "bottom", "top"),
        ):
            if other not in begin:
                continue
            one, two = cells[here][mine].astype(np.int64), cells[other][theirs].astype(np.int64)
            for first, second in _meeting(one, two, slant=other[1] - col if other[0] > row else 0):
                both = (first > 0) & (second > 0)
                pairs.append(np.stack([first[both] + begin[here], second[both] + begin[other]]))
    first, second = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    group = connected_components(graph, directed=False)[1] if count else np.zeros(0, np.int64)
    pixels = np.concatenate([np.zeros(0, np.int64), *(_without_none(cells[place]) for place in places)])
    total = np.bincount(group, weights=pixels)
    return np.asarray(total[group] >= fewest) if count else np.zeros(0, bool)


def _without_none(cell: Sides) -> np.ndarray:
    pixels = np.asarray(cell["pixels"], np.int64).copy()
    pixels[0] = 0
    return pixels


def _meeting(one: np.ndarray, two: np.ndarray, *, slant: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of pixels of two sides that touch: along the whole of a side, or at one corner."""
    if slant > 0:
        return [(one[-1:], two[:1])]
    if slant < 0:
        return [(one[:1], two[-1:])]
    return [(one, two), (one[1:], two[:-1]), (one[:-1], two[1:])]
