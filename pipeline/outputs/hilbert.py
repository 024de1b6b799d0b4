"""Places of points along a Hilbert curve: what lies close together on the ground is close together there."""

from functools import cache

import numpy as np

from rasterloom.pipeline.rasters.grid import Bounds

LEVELS = 32
"""Halvings of each side: the curve passes 2^32 columns and 2^32 rows."""

NOWHERE = np.uint64(2**64 - 1)
"""Place of what has no coordinates: the end of the curve."""

_STEP = 4
"""Halvings that are looked up at once."""


def hilbert_places(points: np.ndarray, bounds: Bounds) -> np.ndarray:
    """(n,) uint64, where along the curve each point lies.

    Parameters
    ----------
    points
        (n, 2) x and y. Those outside the box count as on its nearest side; nan lies at the end of the curve.
    bounds
        The box that the curve fills: (west, south, east, north).

    References
    ----------
    D. Hilbert, "Über die stetige Abbildung einer Linie auf ein Flächenstück", 1891.
    """
    low, high = np.array(bounds[:2], np.float64), np.array(bounds[2:], np.float64)
    span = np.where(high > low, high - low, 1.0)
    cells = float(2**LEVELS)
    share = (np.asarray(points, np.float64) - low) / span * cells
    nowhere = np.isnan(share).any(axis=1)
    share[nowhere] = 0.0
    xy = np.clip(share, 0.0, cells - 1.0).astype(np.uint64)
    places = curve_places(xy[:, 0], xy[:, 1])
    places[nowhere] = NOWHERE
    return places


def curve_places(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n,) uint64, the number of each cell along the curve; columns and rows below 2^32, uint64."""
    digits, turns = _tables()
    state = np.zeros(len(x), np.uint16)
    places = np.zeros(len(x), np.uint64)
    mask = np.uint64(2**_STEP - 1)
    for shift in range(LEVELS - _STEP, -1, -_STEP):
        column = ((x >> np.uint64(shift)) & mask).astype(np.uint16)
        row = ((y >> np.uint64(shift)) & mask).astype(np.uint16)
        index = (state << (2 * _STEP)) | (column << _STEP) | row
        places = (places << np.uint64(2 * _STEP)) | digits[index]
        state = turns[index]
    return places


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For a state, a column and a row of 4 bits each: the 8 bits of the place, and the state that follows.

    A state says how the curve lies in a square: bit 0, whether x and y are exchanged; bit 1, whether it is
    turned about.
    """
    digits = np.zeros(4 << (2 * _STEP), np.uint64)
    turns = np.zeros(4 << (2 * _STEP), np.uint16)
    for index in range(len(digits)):
        state, place = index >> (2 * _STEP), 0
        column, row = (index >> _STEP) & (2**_STEP - 1), index & (2**_STEP - 1)
        for bit in range(_STEP - 1, -1, -1):
            about = state >> 1
            right, up = (column >> bit & 1) ^ about, (row >> bit & 1) ^ about
            if state & 1:
                right, up = up, right
            place = place << 2 | (3 * right) ^ up
            if not up:
                state ^= 3 if right else 1
        digits[index], turns[index] = place, state
    return digits, turns
