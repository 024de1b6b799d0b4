"""Agreement of two class maps, counted pixel by pixel."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.counts import ClassCounts

_BLOCK = 1 << 22
"""Pixels counted at once: bounds the working memory to about 100 MB for any size of map."""


@dataclass(frozen=True, eq=False)
class Confusion(ClassCounts):
    """How many pixels of each true class were given each class.

    A class that is neither in the truth nor in the prediction has no figures: they are nan, and means leave
    it out. A class that is in one of them has figures, and what would be 0/0 counts as 0.
    """

    values: tuple[int, ...]
    """Class values, in the order of rows and columns."""
    counts: np.ndarray
    """(K, K) int64; rows are the truth, columns the prediction."""

    @staticmethod
    def shape(classes: int) -> tuple[int, ...]:
        """Of the counts over some number of classes."""
        return (classes, classes)

    def __post_init__(self) -> None:
        if len(set(self.values)) != len(self.values):
            raise SettingError(f"class values {self.values} repeat: each class is counted once.")
        if self.counts.shape != (len(self.values), len(self.values)):
            raise SettingError(
                f"counts of shape {self.counts.shape} do not fit {len(self.values)} classes: "
                "give one row and one column for each class."
            )

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray, values: Sequence[int]) -> "Confusion":
        """Count two class maps against each other.

        Parameters
        ----------
        truth, predicted
            Class values, integer arrays of one shape.
        values
            The classes to count, in any order.

        Raises
        ------
        SettingError
            If the shapes differ or a map holds a value that is not in ``values``.
        """
        if truth.shape != predicted.shape:
            raise SettingError(
                f"truth {truth.shape} and prediction {predicted.shape} differ in shape: "
                "compare maps on the same grid."
            )
        empty = cls.empty(values)
        flat_truth, flat_predicted = np.ravel(truth), np.ravel(predicted)
        size, total = len(empty.values), empty.counts
        for start in range(0, flat_truth.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = _positions(flat_truth[block], empty.values, "truth")
            columns = _positions(flat_predicted[block], empty.values, "prediction")
            total = total + np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
        return cls(empty.values, total)

    @property
    def total(self) -> int:
        """Pixels counted."""
        return int(self.counts.sum())

    @property
    def accuracy(self) -> float:
        """Share of pixels that got their true class, 0..1; nan when nothing was counted."""
        return int(np.trace(self.counts)) / self.total if self.total else math.nan

    def iou(self) -> dict[int, float]:
        """Intersection over union of each class, 0..1: hits / (truth + prediction - hits)."""
        return self._figures(self._hits, self._true + self._given - self._hits)

    def precision(self) -> dict[int, float]:
        """Share of the pixels given a class that truly are of it, 0..1."""
        return self._figures(self._hits, self._given)

    def recall(self) -> dict[int, float]:
        """Share of the pixels of a class that were given it, 0..1."""
        return self._figures(self._hits, self._true)

    def f1(self) -> dict[int, float]:
        """Harmonic mean of precision and recall, 0..1; the same number as the dice coefficient."""
        return self._figures(2 * self._hits, self._true + self._given)

    def mean_iou(self, ignore: Iterable[int] = ()) -> float:
        """Mean of :meth:`iou` over the classes that occur, without those in ``ignore``."""
        return _mean(self.iou(), ignore)

    def mean_f1(self, ignore: Iterable[int] = ()) -> float:
        """Mean of :meth:`f1` over the classes that occur, without those in ``ignore``."""
        return _mean(self.f1(), ignore)

    @property
    def _hits(self) -> np.ndarray:
        return np.diagonal(self.counts)

    @property
    def _true(self) -> np.ndarray:
        return self.counts.sum(axis=1)

    @property
    def _given(self) -> np.ndarray:
        return self.counts.sum(axis=0)

    def _figures(self, part: np.ndarray, whole: np.ndarray) -> dict[int, float]:
        present = (self._true + self._given) > 0
        return {
            value: _ratio(int(p), int(w)) if there else math.nan
            for value, p, w, there in zip(self.values, part, whole, present, strict=True)
        }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _mean(figures: Mapping[int, float], ignore: Iterable[int]) -> float:
    left_out = set(ignore)
    kept = [f for value, f in figures.items() if value not in left_out and not math.isnan(f)]
    return math.fsum(kept) / len(kept) if kept else math.nan


def _positions(pixels: np.ndarray, values: tuple[int, ...], what: str) -> np.ndarray:
    """Position in ``values`` of each pixel, as int64."""
    if pixels.size == 0:
        return np.zeros(0, np.int64)
    order = np.argsort(values)
    ascending = np.asarray(values)[order]
    found = np.minimum(np.searchsorted(ascending, pixels), len(values) - 1)
    strange = ascending[found] != pixels
    if strange.any():
        foreign = sorted({int(v) for v in np.unique(pixels[strange])[:10]})
        raise SettingError(
            f"the {what} holds values {foreign} that are no classes: the classes are {values}."
        )
    return order[found]
