"""Count what is written, cell by cell, so that the output has exact statistics without another pass."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from rasterloom.pipeline.inference.plan import PixelPlan

MOST_BANDS = 100
"""Bands whose figures fit into a batch's summary; with more there are none."""

_COUNTED_AT_ONCE = 2**18
"""Values that are counted in one call."""


class Tally(Protocol):
    """Figures of the pixels of a batch. Whole numbers, or extremes: the same however the raster is cut."""

    def count(self, found: np.ndarray) -> None:
        """Add the (B, H, W) result of a cell."""

    def summary(self) -> dict[str, Any]:
        """The figures, as JSON values."""


def tally_of(plan: PixelPlan) -> Tally:
    """An empty tally that fits the results of a plan."""
    if plan.arguments.probability is None:
        return ClassTally(plan.values)
    return BandTally(plan.decision.bands, quantised=plan.arguments.probability == "uint8")


class ClassTally:
    """Pixels of each class value."""

    def __init__(self, values: tuple[int, ...]) -> None:
        self._values = values
        self._counts = np.zeros(len(values) + 1, np.int64)  # the last one: pixels that hold nothing

    def count(self, found: np.ndarray) -> None:
        self._counts += counted(found, len(self._counts))

    def summary(self) -> dict[str, Any]:
        pairs = zip(self._values, self._counts[:-1].tolist(), strict=True)
        return {"pixels_per_value": {str(value): count for value, count in pairs if count}}


class BandTally:
    """Count, extremes and, for whole numbers, sums of each band."""

    def __init__(self, bands: int, *, quantised: bool) -> None:
        self._quantised = quantised
        self._bands: list[list[Any] | None] = [None] * (bands if bands <= MOST_BANDS else 0)

    def count(self, found: np.ndarray) -> None:
        for band in range(len(self._bands)):
            values = found[band]
            values = values[values != 255] if self._quantised else values[np.isfinite(values)]
            if values.size:
                self._bands[band] = _added(self._bands[band], self._figures(values))

    def summary(self) -> dict[str, Any]:
        return {"bands": self._bands}

    def _figures(self, values: np.ndarray) -> list[Any]:
        figures: list[Any] = [values.size, values.min().item(), values.max().item()]
        if self._quantised:
            counts = counted(values, 256)
            level = np.arange(256)
            figures += [int((counts * level).sum()), int((counts * level**2).sum())]
        return figures


def counted(values: np.ndarray, size: int) -> np.ndarray:
    """How often each of 0..size-1 occurs, int64."""
    flat, total = values.reshape(-1), np.zeros(size, np.int64)
    for start in range(0, flat.size, _COUNTED_AT_ONCE):  # NumPy makes eight bytes of each value first
        total += np.bincount(flat[start : start + _COUNTED_AT_ONCE], minlength=size)
    return total


def class_counts(summaries: Iterable[Mapping[str, Any]]) -> dict[int, int]:
    """Pixels of each class value in a whole run, in ascending value."""
    total: dict[int, int] = {}
    for summary in summaries:
        for value, count in summary["pixels_per_value"].items():
            total[int(value)] = total.get(int(value), 0) + count
    return dict(sorted(total.items()))


def band_figures(summaries: Iterable[Mapping[str, Any]]) -> list[list[Any] | None]:
    """Count, least, most and, for whole numbers, sum and sum of squares of each band in a whole run."""
    total: list[list[Any] | None] = []
    for summary in summaries:
        bands = summary["bands"]
        total = total or [None] * len(bands)
        total = [_added(a, b) for a, b in zip(total, bands, strict=True)]
    return total


def _added(first: list[Any] | None, second: list[Any] | None) -> list[Any] | None:
    if first is None or second is None:
        return first or second
    sums = (a + b for a, b in zip(first[3:], second[3:], strict=True))
    return [first[0] + second[0], min(first[1], second[1]), max(first[2], second[2]), *sums]
