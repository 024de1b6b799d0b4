"""How well changed pixels are found."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.pixels import Confusion


@final
@dataclass(frozen=True)
class ChangeScores:
    """Figures of the changed pixels; those that did not change, most of them, count only where they were
    taken for changed ones.

    With several kinds of change a pixel is found where it was given the right kind. Figures are nan where
    nothing changed and nothing was found.
    """

    confusion: Confusion
    """Pixels of each true class by the class they were given; value 0 is no change."""

    def __post_init__(self) -> None:
        if 0 not in self.confusion.values:
            raise SettingError(
                f"the classes {self.confusion.values} hold no 0, which is no change: count it too."
            )

    @property
    def precision(self) -> float:
        """Share of the pixels that were found that did change so, 0..1."""
        return self._share(self._hits, self._found)

    @property
    def recall(self) -> float:
        """Share of the pixels that changed that were found, 0..1."""
        return self._share(self._hits, self._true)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1."""
        return self._share(2 * self._hits, self._true + self._found)

    @property
    def iou(self) -> float:
        """Pixels found rightly over those that changed or were found, 0..1."""
        return self._share(self._hits, self._true + self._found - self._hits)

    @property
    def _changes(self) -> np.ndarray:
        """Which rows and columns of the counts are changes."""
        return np.array([value != 0 for value in self.confusion.values])

    @property
    def _hits(self) -> int:
        return int(np.diagonal(self.confusion.counts)[self._changes].sum())

    @property
    def _true(self) -> int:
        return int(self.confusion.counts[self._changes].sum())

    @property
    def _found(self) -> int:
        return int(self.confusion.counts[:, self._changes].sum())

    def _share(self, part: int, whole: int) -> float:
        if self._true + self._found == 0:
            return math.nan
        return part / whole if whole else 0.0
