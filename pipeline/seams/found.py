"""What a run has found, once it is known which findings are the same thing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.pipeline.seams.columns import columns_from_bytes, columns_to_bytes


@dataclass(frozen=True, eq=False)
class Found:
    """Things, one in each row, in the coordinates of the candidates they come from."""

    boxes: np.ndarray
    """(n, 4) float64, x1, y1, x2, y2."""
    scores: np.ndarray
    """(n,) float32, 0..1."""
    labels: np.ndarray
    """(n,) int32, which class of the model's, from 1."""
    cut: np.ndarray
    """(n,) bool. Whether the thing goes on where no chip that found it could see."""
    outlines: np.ndarray
    """(n,) of bytes, WKB polygons; b"" where a box is all that is known."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> "Found":
        """Nothing."""
        return cls(
            np.zeros((0, 4), np.float64),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros(0, bool),
            np.zeros(0, object),
        )

    @classmethod
    def joined(cls, parts: Iterable["Found"]) -> "Found":
        """All rows of several, in their order."""
        parts = [cls.empty(), *parts]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))

    def taken(self, which: Any) -> "Found":
        """Some rows: positions, or one truth value for each row."""
        return Found(*(getattr(self, name)[which] for name in _COLUMNS))

    def order(self) -> np.ndarray:
        """(n,) rows by rank: highest score first, ties in an order that only the things themselves decide."""
        x1, y1, x2, y2 = self.boxes.T
        outlines = np.unique(self.outlines, return_inverse=True)[1]
        return np.lexsort((outlines, self.cut, self.labels, x2, y2, x1, y1, -self.scores))

    def ranked(self) -> "Found":
        """The same things in the order of their rank."""
        return self.taken(self.order())

    def to_bytes(self) -> bytes:
        """A file that :meth:`from_bytes` reads; the same rows give the same bytes."""
        return columns_to_bytes({name: getattr(self, name) for name in _COLUMNS})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Found":
        """What :meth:`to_bytes` wrote."""
        return cls(**columns_from_bytes(data))


_COLUMNS = ("boxes", "scores", "labels", "cut", "outlines")
