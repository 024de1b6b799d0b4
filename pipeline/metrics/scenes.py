"""Agreement of labels of whole chips that can have several of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.counts import ClassCounts


@dataclass(frozen=True, eq=False)
class LabelCounts(ClassCounts):
    """For each class, how many chips have it and how many were given it.

    A class that no chip has and no chip was given has no figures: they are nan, and means leave it out. A
    class that is in one of them has figures, and what would be 0/0 counts as 0.
    """

    values: tuple[int, ...]
    """Class values, in the order of the counts."""
    counts: np.ndarray
    """(K, 2, 2) int64: for each class, chips without it and with it (rows) by whether they were given it."""

    @staticmethod
    def shape(classes: int) -> tuple[int, ...]:
        """Of the counts over some number of classes."""
        return (classes, 2, 2)

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.values), 2, 2):
            raise SettingError(
                f"counts of shape {self.counts.shape} do not fit {len(self.values)} classes: give a table of "
                "two rows and two columns for each class."
            )

    @classmethod
    def of(cls, truth: np.ndarray, given: np.ndarray, values: Sequence[int]) -> "LabelCounts":
        """Count the labels of some chips.

        Parameters
        ----------
        truth, given
            (n, K), whether each class occurs in each chip, and whether the chip was given it.

        Raises
        ------
        SettingError
            If the shapes do not fit.
        """
        truth, given = np.asarray(truth, bool), np.asarray(given, bool)
        if truth.shape != given.shape or truth.ndim != 2 or truth.shape[1] != len(values):
            raise SettingError(
                f"labels {truth.shape} and {given.shape} cannot be compared: give (chips, {len(values)})."
            )
        cells = [[(~truth & ~given), (~truth & given)], [(truth & ~given), (truth & given)]]
        counts = np.array([[cell.sum(axis=0) for cell in row] for row in cells], np.int64)  # (2, 2, K)
        return cls(tuple(int(v) for v in values), np.moveaxis(counts, -1, 0))

    @property
    def accuracy(self) -> float:
        """Share of right decisions, of one for each chip and class, 0..1; nan when nothing was counted."""
        total = int(self.counts.sum())
        right = int(self.counts[:, 0, 0].sum() + self.counts[:, 1, 1].sum())
        return right / total if total else math.nan

    def precision(self) -> dict[int, float]:
        """Share of the chips given a class that truly have it, 0..1."""
        return self._figures(self._hits, self.counts[:, :, 1].sum(axis=1))

    def recall(self) -> dict[int, float]:
        """Share of the chips with a class that were given it, 0..1."""
        return self._figures(self._hits, self.counts[:, 1].sum(axis=1))

    def f1(self) -> dict[int, float]:
        """Harmonic mean of precision and recall, 0..1."""
        return self._figures(2 * self._hits, self._either + self._hits)

    def mean_f1(self, ignore: Iterable[int] = ()) -> float:
        """Mean of :meth:`f1` over the classes that occur, without those in ``ignore``."""
        left_out = set(ignore)
        kept = [f for value, f in self.f1().items() if value not in left_out and not math.isnan(f)]
        return math.fsum(kept) / len(kept) if kept else math.nan

    @property
    def _hits(self) -> np.ndarray:
        return self.counts[:, 1, 1]

    @property
    def _either(self) -> np.ndarray:
        """(K,) chips that have a class or were given it."""
        return self.counts.sum(axis=(1, 2)) - self.counts[:, 0, 0]

    def _figures(self, part: np.ndarray, whole: np.ndarray) -> dict[int, float]:
        rows = zip(self.values, part.tolist(), whole.tolist(), self._either.tolist(), strict=True)
        return {v: (p / w if w else 0.0) if either else math.nan for v, p, w, either in rows}
