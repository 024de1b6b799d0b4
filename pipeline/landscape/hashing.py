"""Random numbers that depend on a seed and a place only, never on what was drawn before."""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream of random numbers is for; each purpose has a stream of its own at every place."""

    SETTLEMENTS = 1
    PARCELS = 2
    WOODS = 3
    LAKES = 4
    RIVERS = 5
    ROADS = 6
    BUILDINGS = 7
    PIXELS = 8
    FATES = 9
    CROPS_EARLIER = 10
    CROPS_LATER = 11
    PIXELS_EARLIER = 12
    PIXELS_LATER = 13
    WARP_X = 16
    WARP_Y = 17
    JITTER_X = 18
    JITTER_Y = 19
    WIDTHS = 20
    MEANDER = 21
    RELIEF = 22
    MOTTLE = 23
    GRAIN = 24
    CROWNS = 25
    SUNLIGHT = 26
    VIGOUR = 27


def generator(seed: int, purpose: Purpose, row: int, col: int) -> np.random.Generator:
    """A generator of its own for each (seed, purpose, row, col).

    Rows and columns may be negative; their magnitude stays below 2**27.
    """
    place = (int(purpose) << 56) | ((row & 0xFFFFFFF) << 28) | (col & 0xFFFFFFF)
    return np.random.Generator(np.random.Philox(key=np.array([seed, place], np.uint64)))


def lattice(seed: int, purpose: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Hashed values in [-1, 1) at integer places, float64; ``rows`` and ``cols`` broadcast.

    References
    ----------
    The finaliser of splitmix64 (Steele, Lea and Flood 2014), applied to one coordinate after the other.
    """
    key = np.uint64(int(_mix(np.array([seed], np.uint64))[0]) ^ (purpose * 0x9E3779B97F4A7C15 % 2**64))
    hashed = _mix(cols.astype(np.int64).view(np.uint64) ^ key)
    hashed = _mix(hashed ^ (rows.astype(np.int64).view(np.uint64) * np.uint64(0xD1B54A32D192ED03)))
    return (hashed >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
