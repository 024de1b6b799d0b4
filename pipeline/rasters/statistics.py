"""Per-band statistics that merge exactly in any grouping, and in one order bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_FEW = 16
"""Values that are sooner looked for one by one than counted together."""


@dataclass(frozen=True)
class BandStats:
    """Count, range, mean and squared deviations of each band's valid pixels."""

    count: int
    """Valid pixels, the same for all bands."""
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    mean: tuple[float, ...]
    m2: tuple[float, ...]
    """Sum of squared deviations from the mean."""

    @property
    def std(self) -> tuple[float, ...]:
        """Population standard deviation of each band."""
        return tuple(float(np.sqrt(value / self.count)) if self.count else 0.0 for value in self.m2)

    @classmethod
    def empty(cls, bands: int) -> "BandStats":
        """Statistics of no pixels."""
        zeros = (0.0,) * bands
        return cls(0, (float("inf"),) * bands, (float("-inf"),) * bands, zeros, zeros)

    @classmethod
    def of(cls, pixels: np.ndarray, valid: np.ndarray) -> "BandStats":
        """Statistics of ``pixels`` (band, ...) where ``valid`` (...) is true.

        Returns
        -------
        BandStats
            In double precision.
        """
        chosen = pixels[:, valid].astype(np.float64)  # (band, pixel)
        if chosen.shape[1] == 0:
            return cls.empty(pixels.shape[0])
        mean = chosen.mean(axis=1)
        return cls(
            int(chosen.shape[1]),
            _floats(chosen.min(axis=1)),
            _floats(chosen.max(axis=1)),
            _floats(mean),
            _floats(((chosen - mean[:, None]) ** 2).sum(axis=1)),
        )

    def merge(self, other: "BandStats") -> "BandStats":
        """Statistics of both sets of pixels together.

        References
        ----------
        Chan, Golub, LeVeque: "Updating formulae and a pairwise algorithm for computing sample
        variances", 1979.
        """
        if other.count == 0:
            return self
        if self.count == 0:
            return other
        count = self.count + other.count
        ours, theirs = np.array(self.mean), np.array(other.mean)
        delta = theirs - ours
        m2 = np.array(self.m2) + np.array(other.m2) + delta**2 * (self.count * other.count / count)
        return BandStats(
            count,
            _floats(np.minimum(self.minimum, other.minimum)),
            _floats(np.maximum(self.maximum, other.maximum)),
            _floats(ours + delta * (other.count / count)),
            _floats(m2),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary; floats survive exactly. The range of no pixels is null."""
        plain = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }
        if self.count == 0:  # JSON has no infinity
            plain |= {"minimum": [None] * len(self.mean), "maximum": [None] * len(self.mean)}
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "BandStats":
        """The value that :meth:`to_json` wrote."""
        if int(plain["count"]) == 0:
            return cls.empty(len(plain["mean"]))
        return cls(
            int(plain["count"]),
            *(_floats(plain[key]) for key in ("minimum", "maximum", "mean", "m2")),
        )


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def value_counts(values: np.ndarray) -> np.ndarray:
    """How often each of 0, 1, 2, ... occurs among whole numbers, up to the largest, int64."""
    largest = int(values.max(initial=0))
    if largest < _FEW:
        return np.array([np.count_nonzero(values == value) for value in range(largest + 1)], np.int64)
    return np.bincount(values.ravel())
