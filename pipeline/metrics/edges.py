"""How well found edges agree with true ones, within a distance, at one probability or at the best."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.morphology import thin

from rasterloom.models.errors import SettingError

_FOUND, _FOUND_NEAR, _TRUE, _TRUE_NEAR = range(4)


@dataclass(frozen=True, eq=False)
class EdgeCounts:
    """Edge pixels of images, found at several thresholds, and how many of them lie near true ones.

    Shares are not a number where there is nothing to take a share of. Where something is found and nothing
    is true, or the other way round, F1 is 0.
    """

    thresholds: tuple[float, ...]
    """Probabilities from which on a pixel counts as found, ascending."""
    counts: np.ndarray
    """(images, thresholds, 4) int64: pixels found, those of them near a true one, pixels that are true, those
    of them near a found one."""

    @classmethod
    def merged(cls, parts: Iterable["EdgeCounts"]) -> "EdgeCounts":
        """The images of all parts, one at least, in their order.

        Raises
        ------
        SettingError
            If their thresholds differ.
        """
        given = list(parts)
        if len({part.thresholds for part in given}) != 1:
            raise SettingError("counts at different thresholds cannot be put together: count at the same.")
        return cls(given[0].thresholds, np.concatenate([part.counts for part in given]))

    def figures(self, threshold: float) -> dict[str, float]:
        """``precision``, ``recall`` and ``f1`` over all images at one of the thresholds."""
        return _named(*_shares(self.counts.sum(axis=0)[self.thresholds.index(threshold)]))

    def ods(self) -> dict[str, float]:
        """The figures at the one ``threshold`` that is best for all images together (ODS)."""
        totals = self.counts.sum(axis=0)
        best = _best(totals)
        return {"threshold": self.thresholds[best], **_named(*_shares(totals[best]))}

    def ois(self) -> dict[str, float]:
        """The figures over all images, each at the threshold that is best for it (OIS)."""
        chosen = [image[_best(image)] for image in self.counts]
        return _named(*_shares(np.sum(chosen, axis=0)))


def count_edges(
    truth: np.ndarray,
    probability: np.ndarray,
    *,
    thresholds: Sequence[float],
    buffer: float,
    thinning: bool = False,
    known: np.ndarray | None = None,
) -> EdgeCounts:
    """Count the edge pixels of one image against the true ones.

    Parameters
    ----------
    truth
        (row, column) of bool.
    probability
        (row, column) of being an edge, 0..1.
    thresholds
        Probabilities, 0 to 1, from which on a pixel counts as found; in any order.
    buffer
        Furthest that a found and a true pixel may lie apart to count as near, in pixels, 0 or more.
    thinning
        Whether found and true edges are first thinned to lines one pixel wide.
    known
        (row, column) of bool: where the truth is known. Pixels found elsewhere count for nothing. None is
        everywhere.

    Raises
    ------
    SettingError
        If a number cannot work, or the shapes differ.
    """
    _check(thresholds, buffer)
    if truth.shape != probability.shape or (known is not None and known.shape != truth.shape):
        raise SettingError(
            f"truth {truth.shape} and probability {probability.shape} differ in shape: "
            "compare maps on the same grid."
        )
    everywhere = np.ones(truth.shape, bool) if known is None else known
    true = (thin(truth) if thinning else truth.astype(bool)) & everywhere
    from_true = _distances(true)
    ascending = tuple(sorted({float(value) for value in thresholds}))
    counts = np.zeros((1, len(ascending), 4), np.int64)
    for row, threshold in enumerate(ascending):
        found = probability >= threshold
        found = (thin(found) if thinning else found) & everywhere
        counts[0, row, _FOUND] = found.sum()
        counts[0, row, _FOUND_NEAR] = (from_true[found] <= buffer).sum()
        counts[0, row, _TRUE] = true.sum()
        counts[0, row, _TRUE_NEAR] = (_distances(found)[true] <= buffer).sum()
    return EdgeCounts(ascending, counts)


def _check(thresholds: Sequence[float], buffer: float) -> None:
    for threshold in thresholds:
        if not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
            raise SettingError(f"threshold={threshold!r} is no probability: use a number from 0 to 1.")
    if not thresholds:
        raise SettingError("thresholds=[] leaves nothing to count: give one at least, such as 0.5.")
    if not (isinstance(buffer, int | float) and math.isfinite(buffer) and buffer >= 0):
        raise SettingError(f"buffer={buffer!r} cannot work: use a number of pixels, 0 or more.")


def _distances(edges: np.ndarray) -> np.ndarray:
    """Pixels from each pixel to the nearest edge; infinite where there is none."""
    if not edges.any():
        return np.full(edges.shape, np.inf)
    return np.asarray(distance_transform_edt(~edges))


def _best(counts: np.ndarray) -> int:
    """Which row has the best F1; of equal ones that which finds least, then the first."""
    return min(range(len(counts)), key=lambda row: (-_f1(counts[row]), counts[row][_FOUND]))


def _f1(counts: np.ndarray) -> float:
    f1 = _shares(counts)[2]
    return 0.0 if math.isnan(f1) else f1


def _shares(counts: np.ndarray) -> tuple[float, float, float]:
    found, found_near, true, true_near = (int(count) for count in counts)
    precision = found_near / found if found else math.nan
    recall = true_near / true if true else math.nan
    if not found and not true:
        return precision, recall, math.nan
    if not found_near or not true_near:
        return precision, recall, 0.0
    return precision, recall, 2 * precision * recall / (precision + recall)


def _named(precision: float, recall: float, f1: float) -> dict[str, float]:
    return {"precision": precision, "recall": recall, "f1": f1}
