"""A plane cut into rectangles that hold about as many boxes each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

LEAF = 100_000
"""Boxes in a leaf, about."""

_SAMPLE = 1_000_000
"""Boxes that the leaves are laid out by."""

_ROOM = 4.0
"""A leaf's side is at least so many times that of nearly all boxes, so that few meet several leaves."""

_NEARLY_ALL = 95
"""Per cent."""


@dataclass(frozen=True, eq=False)
class Leaves:
    """Strips from left to right, each cut from top to bottom. The outermost have no end."""

    columns: np.ndarray
    """(c - 1,) x between strips, ascending."""
    rows: np.ndarray
    """(c, r - 1) y between the leaves of each strip, ascending."""

    @classmethod
    def over(cls, boxes: np.ndarray, *, leaf: int = LEAF) -> "Leaves":
        """Lay out leaves for boxes (n, 4)."""
        some = boxes[:: max(len(boxes) // _SAMPLE, 1)]
        some = some[(some[:, 2] > some[:, 0]) & (some[:, 3] > some[:, 1])]
        if not len(some):
            return cls(np.zeros(0), np.zeros((1, 0)))
        centres = (some[:, :2] + some[:, 2:]) / 2
        wanted = int(np.ceil(np.sqrt(len(boxes) / leaf)))
        side = _ROOM * np.percentile(some[:, 2:] - some[:, :2], _NEARLY_ALL, axis=0)
        across, down = (
            int(np.clip(room, 1, wanted)) for room in np.ptp(centres, axis=0) / np.maximum(side, 1e-300)
        )
        columns = _cuts(centres[:, 0], across)
        strips = np.searchsorted(columns, centres[:, 0], side="right")
        rows = [_cuts(centres[strips == strip, 1], down) for strip in range(across)]
        return cls(columns, np.stack(rows))

    @property
    def count(self) -> int:
        return self.rows.shape[0] * (self.rows.shape[1] + 1)

    def rectangle(self, leaf: int) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 of a leaf."""
        strip, row = divmod(leaf, self.rows.shape[1] + 1)
        x, y = (np.concatenate([[-np.inf], cuts, [np.inf]]) for cuts in (self.columns, self.rows[strip]))
        return float(x[strip]), float(y[row]), float(x[strip + 1]), float(y[row + 1])

    def meeting(self, boxes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Each leaf that some of the boxes (n, 4) touch, and which rows they are."""
        first = np.searchsorted(self.columns, boxes[:, 0], side="left")
        last = np.searchsorted(self.columns, boxes[:, 2], side="right")
        for strip in range(self.rows.shape[0]):
            within = np.flatnonzero((first <= strip) & (strip <= last))
            cuts = self.rows[strip]
            top = np.searchsorted(cuts, boxes[within, 1], side="left")
            bottom = np.searchsorted(cuts, boxes[within, 3], side="right")
            for row in range(len(cuts) + 1):
                touching = within[(top <= row) & (row <= bottom)]
                if len(touching):
                    yield strip * (len(cuts) + 1) + row, touching


def _cuts(values: np.ndarray, parts: int) -> np.ndarray:
    """Where to cut for about as many values in each part."""
    if not len(values):
        return np.zeros(parts - 1)
    return np.quantile(values, np.arange(1, parts) / parts)
