"""What chips have found, before it is known which findings are the same thing."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.pipeline.seams.columns import columns_from_bytes, columns_to_bytes


@dataclass(frozen=True, eq=False)
class Candidates:
    """Findings of chips, one in each row.

    Coordinates are pixels of the grid that a run reads on: x to the right, y down, (0, 0) the upper-left
    corner of the upper-left pixel.
    """

    boxes: np.ndarray
    """(n, 4) float64, x1, y1, x2, y2, inside the raster."""
    scores: np.ndarray
    """(n,) float32, 0..1."""
    labels: np.ndarray
    """(n,) int32, which class of the model's, from 1."""
    chips: np.ndarray
    """(n, 2) int32, row and column of the chip that found each, in the grid of chips."""
    cut: np.ndarray
    """(n, 4) bool: left, top, right, bottom. Whether the box ends there because the chip's view does."""
    outlines: np.ndarray
    """(n,) of bytes, WKB polygons in the same coordinates; b"" where a box is all that is known."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> "Candidates":
        """Nothing found."""
        return cls(
            np.zeros((0, 4), np.float64),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros((0, 2), np.int32),
            np.zeros((0, 4), bool),
            np.zeros(0, object),
        )

    @classmethod
    def joined(cls, parts: Iterable["Candidates"]) -> "Candidates":
        """All rows of several, in their order."""
        parts = [cls.empty(), *parts]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))

    def taken(self, which: Any) -> "Candidates":
        """Some rows: positions, or one truth value for each row."""
        return Candidates(*(getattr(self, name)[which] for name in _COLUMNS))

    def to_bytes(self) -> bytes:
        """A file that :meth:`from_bytes` reads; the same rows give the same bytes."""
        return columns_to_bytes({name: getattr(self, name) for name in _COLUMNS})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Candidates":
        """What :meth:`to_bytes` wrote."""
        return cls(**columns_from_bytes(data))


_COLUMNS = ("boxes", "scores", "labels", "chips", "cut", "outlines")


@dataclass(frozen=True, kw_only=True)
class ChipViews:
    """Where the chips of a run look: a grid anchored at the raster's origin."""

    tile: int
    """Side of what a chip sees, in pixels."""
    padding: int
    """Border of a chip, in pixels, that its neighbours own. The stride is tile - 2 * padding."""
    shape: tuple[int, int]
    """Raster size, (height, width)."""

    @property
    def stride(self) -> int:
        return self.tile - 2 * self.padding

    def views(self, chips: np.ndarray) -> np.ndarray:
        """(n, 4) float64: what chips (n, 2) see of the raster, as x1, y1, x2, y2 in pixels."""
        return self._boxes(chips, self.padding)

    def owned(self, chips: np.ndarray) -> np.ndarray:
        """(n, 4) float64: what is nearest to chips (n, 2); no two own the same point."""
        return self._boxes(chips, 0)

    def owners(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) int32: the chip, as row and column, that owns each of points (n, 2), given as x, y."""
        return np.floor(points[:, ::-1] / self.stride).astype(np.int32)

    def _boxes(self, chips: np.ndarray, border: int) -> np.ndarray:
        start = chips[:, ::-1].astype(np.float64) * self.stride
        size = np.array([self.shape[1], self.shape[0]], np.float64)
        first = np.clip(start - border, 0, size)
        last = np.clip(start + self.stride + border, 0, size)
        return np.concatenate([first, last], axis=1)
