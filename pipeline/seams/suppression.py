"""Greedy suppression of any number of overlapping shapes, at bounded memory."""

from collections.abc import Iterator

import numpy as np
import shapely

from rasterloom.pipeline.seams.greedy import DROPPED, KEPT, OPEN, suppress
from rasterloom.pipeline.seams.overlap import area, shared_area

_CHUNK = 100_000
"""Shapes that are indexed at once."""

_FEW_PAIRS, _MANY_PAIRS = 500_000, 4_000_000
"""Pairs of boxes that meet; with fewer, more are looked up at once, with more, fewer."""

_LEAST_BLOCK, _MOST_BLOCK = 16, 8192


def suppress_shapes(
    boxes: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    *,
    shapes: np.ndarray | None = None,
    unknown: np.ndarray | None = None,
) -> np.ndarray:
    """Drop what overlaps something of higher rank that is kept, highest rank first.

    Parameters
    ----------
    boxes
        (n, 4) x1, y1, x2, y2 in the order of rank, highest first.
    labels
        (n,) Only what has one label suppresses each other.
    threshold
        IoU, 0..1, above which the lower rank is dropped.
    shapes
        (n,) of valid shapely polygons, None where the box is the shape. None: boxes are all there is.
    unknown
        (n,) Whether something that is not given here may suppress each. None: nothing is.

    Returns
    -------
    ndarray
        (n,) int8, KEPT, DROPPED or OPEN as in :func:`rasterloom.pipeline.seams.greedy.suppress`.
    """
    state = np.full(len(boxes), KEPT) if unknown is None else np.where(unknown, OPEN, KEPT)
    ranks = _Ranks(boxes, labels, threshold, shapes)
    for start in range(0, len(boxes), _CHUNK):
        ranks.settle(state, start, min(start + _CHUNK, len(boxes)))
    return state


class _Ranks:
    """The shapes in the order of their rank."""

    def __init__(
        self, boxes: np.ndarray, labels: np.ndarray, threshold: float, shapes: np.ndarray | None
    ) -> None:
        self._boxes, self._labels, self._threshold = boxes, labels, threshold
        self._shapes, self._areas = shapes, area(boxes)
        if shapes is not None:
            drawn = shapely.is_geometry(shapes)
            self._areas[drawn] = shapely.area(shapes[drawn])

    def settle(self, state: np.ndarray, start: int, stop: int) -> None:
        """Decide rows start..stop, where all before are decided."""
        rows = np.arange(start, stop)
        rows = rows[(self._areas[rows] > 0) & (state[rows] != DROPPED)]
        index = _Index(self._boxes, rows)
        before = np.flatnonzero(state[:start] != DROPPED)
        for first, second, _ in index.blocks(before, state):
            self._pass_on(state, *self._conflicts(state, first, second))
        for first, second, block in index.blocks(rows, state):
            first, second = self._conflicts(state, first, second)
            inside = second <= block[-1]
            higher, lower = (np.searchsorted(block, side[inside]) for side in (first, second))
            state[block] = suppress(len(block), higher, lower, state[block] == OPEN)
            self._pass_on(state, first[~inside], second[~inside])

    def _conflicts(
        self, state: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of pairs of rows, those of which the first may suppress the second."""
        wanted = (first < second) & (self._labels[first] == self._labels[second])
        wanted &= (state[second] != DROPPED) & (state[first] != DROPPED)
        wanted &= (state[first] != OPEN) | (state[second] != OPEN)  # the first ends open or dropped
        first, second = first[wanted], second[wanted]
        shared = shared_area(self._boxes[first], self._boxes[second])
        # what is shared by boxes is the most that shapes within them can share
        wanted = self._too_much(shared, first, second)
        first, second, shared = first[wanted], second[wanted], shared[wanted]
        if self._shapes is not None:
            drawn = shapely.is_geometry(self._shapes[first]) | shapely.is_geometry(self._shapes[second])
            one, other = self._drawn(first[drawn]), self._drawn(second[drawn])
            shared[drawn] = shapely.area(shapely.intersection(one, other))
            wanted = self._too_much(shared, first, second)
            first, second = first[wanted], second[wanted]
        return first, second

    def _too_much(self, shared: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        common = self._areas[first] + self._areas[second] - shared
        ratio = np.divide(shared, common, out=np.zeros_like(shared), where=common > 0)
        return np.greater(ratio, self._threshold)

    def _drawn(self, rows: np.ndarray) -> np.ndarray:
        assert self._shapes is not None, "only asked for where there are any"
        drawn: np.ndarray = self._shapes[rows]
        plain = ~shapely.is_geometry(drawn)
        drawn[plain] = shapely.box(*self._boxes[rows[plain]].T)
        return drawn

    @staticmethod
    def _pass_on(state: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
        """Let decided rows decide the lower ones that they overlap."""
        waiting = second[state[first] == OPEN]
        state[waiting[state[waiting] != DROPPED]] = OPEN
        state[second[state[first] == KEPT]] = DROPPED


class _Index:
    """Some rows, to be looked up by place."""

    def __init__(self, boxes: np.ndarray, rows: np.ndarray) -> None:
        self._boxes, self._rows = boxes, rows
        self._tree = shapely.STRtree(shapely.box(*boxes[rows].T))
        self._size = 4 * _LEAST_BLOCK

    def blocks(
        self, rows: np.ndarray, state: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Pairs of those rows with the indexed ones that their boxes meet, and the rows; some at a time.

        Rows that are dropped by the time their turn comes are passed over.
        """
        place = 0
        while place < len(rows):
            block = rows[place : place + self._size]
            place += len(block)
            block = block[state[block] != DROPPED]
            if len(block):
                near, far = self._tree.query(shapely.box(*self._boxes[block].T))
                self._adapt(len(near))
                yield block[near], self._rows[far], block

    def _adapt(self, pairs: int) -> None:
        if pairs > _MANY_PAIRS:
            self._size = max(self._size // 2, _LEAST_BLOCK)
        elif pairs < _FEW_PAIRS:
            self._size = min(self._size * 2, _MOST_BLOCK)
