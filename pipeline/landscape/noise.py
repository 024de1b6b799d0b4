"""Smooth noise from hashed lattices, the same at a place whatever window it is looked at through.

Lattice values are spread by cubic B-splines, which are separable. The result is scaled to a standard
deviation of about 1 and never exceeds ``LIMIT``.
"""

import numpy as np

from rasterloom.pipeline.landscape.hashing import lattice

_DEVIATION = 0.2767
"""Standard deviation of uniform [-1, 1) values after the spline in two directions: 0.4793 / sqrt(3)."""

LIMIT = 1.0 / _DEVIATION


def noise_window(seed: int, purpose: int, y: np.ndarray, x: np.ndarray, wavelength: float) -> np.ndarray:
    """Noise at the crossings of rows ``y`` and columns ``x``, float32 (len(y), len(x)).

    Parameters
    ----------
    y, x
        Ascending positions in metres.
    wavelength
        Distance between lattice points in metres.
    """
    row, taps_y = _taps(y / wavelength)
    col, taps_x = _taps(x / wavelength)
    rows, cols = np.arange(row[0], row[-1] + 4), np.arange(col[0], col[-1] + 4)
    values = lattice(seed, purpose, rows[:, None], cols[None, :]).astype(np.float32)
    values *= np.float32(LIMIT)
    wide = _spread(values.T, col - col[0], taps_x).T
    return _spread(np.ascontiguousarray(wide), row - row[0], taps_y)


def noise_points(seed: int, purpose: int, y: np.ndarray, x: np.ndarray, wavelength: float) -> np.ndarray:
    """Noise at single points, float64, of the shape of ``y`` and ``x``."""
    row, taps_y = _taps(y / wavelength)
    col, taps_x = _taps(x / wavelength)
    step = np.arange(4).reshape(4, *[1] * row.ndim)
    values = lattice(seed, purpose, (row + step)[:, None], (col + step)[None])  # (tap y, tap x, ...)
    total = np.zeros(row.shape)
    # One product after the other: a sum over an axis may round differently for arrays of another size.
    for i, weight_y in enumerate(taps_y):
        for j, weight_x in enumerate(taps_x):
            total += weight_y * weight_x * values[i, j]
    return total * LIMIT


def _spread(values: np.ndarray, index: np.ndarray, taps: tuple[np.ndarray, ...]) -> np.ndarray:
    """The spline along the first axis of lattice values (n, m): float32 (len(index), m).

    Four weighted copies of rows cost as much as a matrix product with a band matrix, and do not start the
    threads of a linear algebra library under each thread that renders (measured: a tenth of the speed).
    """
    weights = [tap.astype(np.float32)[:, None] for tap in taps]
    out = np.take(values, index, axis=0) * weights[0]
    for k, weight in enumerate(weights[1:], 1):
        part = np.take(values, index + k, axis=0)
        part *= weight
        out += part
    return out


def _taps(position: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Index of the first of four lattice points, and the four B-spline weights."""
    floor = np.floor(position)
    t = position - floor
    s = 1.0 - t
    taps = (
        s * s * s / 6.0,
        (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0,
        (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0,
        t * t * t / 6.0,
    )
    return floor.astype(np.int64) - 1, taps
