"""Band statistics of many chips in one pass."""

import numpy as np

from rasterloom.pipeline.rasters.statistics import BandStats

_TOGETHER = 2**16
"""Pixels of a band that are summed at once: the squares of so many fit in four times the bits of one."""


class BandTally:
    """Collects pixels chip by chip. The same chips in the same order give the same statistics bit for bit.

    Pixels of 8 and 16 bits are summed exactly, as whole numbers; others are merged chip by chip.
    """

    def __init__(self, bands: int, dtype: str) -> None:
        kind = np.dtype(dtype)
        self._exact = kind.kind in "iu" and kind.itemsize <= 2
        self._sums = [_Sums() for _ in range(bands)]
        self._merged = BandStats.empty(bands)

    def add(self, chips: np.ndarray, valid: np.ndarray) -> None:
        """Add chips (n, band, row, column) where ``valid`` (n, row, column) is true; elsewhere they are 0."""
        for pixels, there in zip(chips, valid, strict=True):
            if not self._exact:
                self._merged = self._merged.merge(BandStats.of(pixels, there))
                continue
            count = int(np.count_nonzero(there))
            for sums, band in zip(self._sums, pixels, strict=True):
                if count == there.size:
                    sums.add(band.ravel())
                elif count:
                    sums.add(band[there])

    def stats(self) -> BandStats:
        """Statistics of all that was added."""
        if not self._exact or not self._sums or not self._sums[0].count:
            return self._merged
        return BandStats(
            self._sums[0].count,
            tuple(float(sums.minimum) for sums in self._sums),
            tuple(float(sums.maximum) for sums in self._sums),
            tuple(sums.total / sums.count for sums in self._sums),
            # whole numbers of any length: nothing is lost by the difference of two large ones
            tuple((sums.count * sums.squares - sums.total**2) / sums.count for sums in self._sums),
        )


class _Sums:
    """Exact sums over one band of whole numbers."""

    def __init__(self) -> None:
        self.count, self.total, self.squares = 0, 0, 0
        self.minimum, self.maximum = 2**16, -(2**16)

    def add(self, values: np.ndarray) -> None:
        self.count += values.size
        self.minimum = min(self.minimum, int(values.min()))
        self.maximum = max(self.maximum, int(values.max()))
        wide = np.dtype(f"{values.dtype.kind}{4 * values.dtype.itemsize}")
        for start in range(0, values.size, _TOGETHER):
            some = values[start : start + _TOGETHER].astype(wide)
            self.total += int(some.sum(dtype=wide))
            np.multiply(some, some, out=some)
            self.squares += int(some.sum(dtype=wide))
