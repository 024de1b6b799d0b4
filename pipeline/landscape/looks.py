"""What each kind of ground looks like: base colour, grain, furrows, and how much it follows the relief.

A look is one row of numbers per feature; :mod:`rasterloom.pipeline.landscape.render` turns them into pixels.
"""

from enum import IntEnum

import numpy as np


class Look(IntEnum):
    """Columns of the look table."""

    RED = 0
    GREEN = 1
    BLUE = 2
    NIR = 3
    MOTTLE = 4
    """Share by which patches some tens of metres wide differ."""
    GRAIN = 5
    """Share by which spots a few metres wide and single pixels differ."""
    CROWNS = 6
    """Strength of tree crowns."""
    VIGOUR = 7
    """How much greener and brighter in the infrared the plants of moist ground are."""
    RELIEF = 8
    """How much the slope's illumination shows: 1 for open ground, 0 for water."""
    STRIPES = 9
    """Share by which furrows, or the two sides of a roof, differ."""
    STRIPE_RATE = 10
    """Radians per metre across the stripes."""
    STRIPE_EDGE = 11
    """Steepness of the stripes' flanks: 1 is a sine."""
    TRACKS = 12
    """Share by which the wheel tracks of farm machines are darker."""
    AXIS_X = 13
    AXIS_Y = 14
    """Unit vector across the stripes."""
    AXIS_ORIGIN = 15
    """Position along that vector where the stripes start, in metres."""


LOOK_SIZE = len(Look)

Palette = np.ndarray
"""(kinds, 12): red, green, blue, near infrared in grey levels; mottle, grain, crowns, vigour, relief;
stripes, stripe period in metres (0 for none), tracks."""

CROPS: Palette = np.array(
    [
        (172, 154, 104, 164, 0.05, 0.06, 0.00, 0.3, 1.0, 0.05, 4.0, 0.14),  # ripe wheat
        (132, 108, 86, 122, 0.10, 0.08, 0.00, 0.1, 1.0, 0.09, 3.5, 0.00),  # bare soil
        (108, 92, 76, 102, 0.12, 0.10, 0.00, 0.1, 1.0, 0.12, 5.0, 0.00),  # ploughed soil
        (158, 144, 110, 148, 0.08, 0.08, 0.00, 0.2, 1.0, 0.10, 6.0, 0.05),  # stubble
        (88, 118, 68, 176, 0.05, 0.06, 0.00, 0.9, 1.0, 0.06, 4.0, 0.16),  # young cereal
        (62, 94, 54, 168, 0.05, 0.08, 0.00, 0.7, 1.0, 0.13, 3.2, 0.00),  # maize
        (170, 164, 66, 182, 0.05, 0.06, 0.00, 0.5, 1.0, 0.04, 4.0, 0.12),  # rape in flower
        (80, 124, 62, 190, 0.06, 0.07, 0.00, 0.8, 1.0, 0.14, 3.6, 0.08),  # beet
    ]
)
CROP_SHARES = np.array([0.2, 0.14, 0.08, 0.1, 0.18, 0.14, 0.05, 0.11])

MEADOWS: Palette = np.array(
    [
        (96, 122, 72, 172, 0.09, 0.11, 0.00, 1.0, 1.0, 0.0, 0.0, 0.0),  # meadow
        (112, 130, 80, 162, 0.12, 0.13, 0.03, 1.0, 1.0, 0.0, 0.0, 0.0),  # pasture
        (138, 134, 92, 154, 0.12, 0.12, 0.02, 0.7, 1.0, 0.0, 0.0, 0.0),  # dry grass
        (82, 106, 64, 158, 0.10, 0.13, 0.05, 0.9, 1.0, 0.0, 0.0, 0.0),  # wet grass
    ]
)
GARDEN: Palette = np.array([(96, 116, 74, 160, 0.12, 0.16, 0.12, 0.6, 0.7, 0.0, 0.0, 0.0)])

WOODS: Palette = np.array(
    [
        (66, 90, 52, 162, 0.08, 0.10, 0.54, 0.5, 0.9, 0.0, 0.0, 0.0),  # broad-leaved
        (46, 68, 48, 120, 0.06, 0.10, 0.60, 0.3, 0.9, 0.0, 0.0, 0.0),  # spruce
        (56, 80, 50, 142, 0.12, 0.10, 0.58, 0.4, 0.9, 0.0, 0.0, 0.0),  # mixed
    ]
)
WATERS: Palette = np.array(
    [
        (38, 58, 68, 24, 0.05, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),  # clear
        (70, 86, 74, 36, 0.06, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),  # turbid
        (56, 78, 56, 58, 0.08, 0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),  # algae
    ]
)
RIVER: Palette = np.array([(60, 78, 74, 34, 0.07, 0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)])

PAVINGS: Palette = np.array(
    [
        (116, 116, 118, 108, 0.05, 0.05, 0.0, 0.0, 0.6, 0.0, 0.0, 0.0),  # asphalt
        (88, 89, 92, 86, 0.05, 0.05, 0.0, 0.0, 0.6, 0.0, 0.0, 0.0),  # fresh asphalt
        (158, 152, 142, 142, 0.07, 0.08, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0),  # gravel
    ]
)
ROOFS: Palette = np.array(
    [
        (176, 92, 70, 116, 0.02, 0.05, 0.0, 0.0, 0.0, 0.16, 1.0, 0.0),  # red tiles
        (142, 84, 66, 102, 0.03, 0.06, 0.0, 0.0, 0.0, 0.18, 1.0, 0.0),  # old tiles
        (104, 108, 122, 96, 0.02, 0.04, 0.0, 0.0, 0.0, 0.18, 1.0, 0.0),  # slate
        (200, 200, 200, 190, 0.02, 0.03, 0.0, 0.0, 0.0, 0.08, 1.0, 0.0),  # sheet metal
        (70, 68, 70, 72, 0.02, 0.04, 0.0, 0.0, 0.0, 0.14, 1.0, 0.0),  # bitumen
    ]
)
ROOF_SHARES = np.array([0.42, 0.24, 0.14, 0.14, 0.06])


def dress(
    rng: np.random.Generator,
    palette: Palette,
    kinds: np.ndarray,
    *,
    axes: np.ndarray | None = None,
    origins: np.ndarray | None = None,
    spread: float = 0.07,
) -> np.ndarray:
    """Rows (n, LOOK_SIZE) of the look table for features of the given ``kinds`` (n) of a palette.

    Parameters
    ----------
    axes
        Unit vectors (n, 2) across the stripes. None for ground without stripes.
    origins
        Points (n, 2), in metres, through which a stripe's rising flank runs. None: the scene's corner.
    spread
        Share by which the brightness of two features of one kind differs.
    """
    count, rows = len(kinds), palette[kinds]
    looks = np.zeros((count, LOOK_SIZE))
    tone = rng.normal(1.0, spread, (count, 1)).clip(0.7, 1.3)
    tint = rng.normal(1.0, spread / 3, (count, 4)).clip(0.85, 1.15)
    looks[:, : Look.RELIEF + 1] = rows[:, :9]
    looks[:, : Look.NIR + 1] *= tone * tint
    looks[:, Look.STRIPES] = rows[:, 9]
    period = rows[:, 10] * rng.uniform(0.85, 1.2, count)
    looks[:, Look.STRIPE_RATE] = np.divide(2 * np.pi, period, out=np.zeros(count), where=period > 0)
    looks[:, Look.STRIPE_EDGE] = 1.0
    looks[:, Look.TRACKS] = rows[:, 11]
    if axes is not None:
        looks[:, [Look.AXIS_X, Look.AXIS_Y]] = axes
    if axes is not None and origins is not None:
        looks[:, Look.AXIS_ORIGIN] = (axes * origins).sum(axis=1)
    return looks
