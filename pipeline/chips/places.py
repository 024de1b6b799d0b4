"""Where chips lie: rows of a table, and their outlines on the ground, turned or not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from affine import Affine

from rasterloom.pipeline.rasters.grid import Grid, Window

CHIP = np.dtype(
    [
        ("source", "<i4"),
        ("turn", "<i4"),
        ("row", "<i8"),
        ("col", "<i8"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("number", "<i8"),
        ("feature", "<i8"),
        ("value", "<i8"),
        ("split", "u1"),
    ]
)
"""What is known of a chip before it is cut.

``source`` is a position among the sources, ``turn`` how many times it is turned by the angle, ``row`` to
``width`` the window before it is turned, ``number`` that of the scan. ``feature`` and ``value`` are the
position and class value of the feature that it is centred on, -1 and 0 where it is centred on none. ``split``
is a position in ``SPLITS``.
"""

EDGE = 1e-3
"""Pixels by which chips are shrunk before they are compared with features: to touch is not to overlap."""

STRIP_PIXELS = 2**22
"""Most pixels that neighbouring chips are read or burned with at once."""


def window_of(chip: Any) -> Window:
    """Rows and columns of a chip before it is turned; it may reach beyond the raster."""
    return Window(int(chip["row"]), int(chip["col"]), int(chip["height"]), int(chip["width"]))


def chip_affine(grid: Grid, chip: Any, angle: float) -> Affine:
    """Transform from a chip's columns and rows to the ground.

    A chip is turned about its centre, in pixels, so that what it shows turns counter-clockwise.
    """
    window = window_of(chip)
    if not chip["turn"]:
        return grid.window_affine(window)
    half = window.width / 2, window.height / 2
    turned = Affine.rotation(float(chip["turn"]) * angle) @ Affine.translation(-half[0], -half[1])
    return grid.affine @ Affine.translation(window.col + half[0], window.row + half[1]) @ turned


def chip_grid(grid: Grid, chip: Any, angle: float) -> Grid:
    """The grid of one chip's pixels."""
    a, b, c, d, e, f = tuple(chip_affine(grid, chip, angle))[:6]
    return Grid(grid.crs, (a, b, c, d, e, f), int(chip["height"]), int(chip["width"]))


def transforms_of(chips: np.ndarray, grid: Grid, angle: float) -> np.ndarray:
    """Coefficients a, b, c, d, e, f of each chip's transform to the ground, (n, 6)."""
    a, b, c, d, e, f = grid.transform
    col, row = chips["col"].astype(np.float64), chips["row"].astype(np.float64)
    found = np.empty((len(chips), 6))
    found[:] = grid.transform
    # in the order of the sum of a product of matrices, for the same last bit
    found[:, 2], found[:, 5] = a * col + b * row + c, d * col + e * row + f
    for chip in np.flatnonzero(chips["turn"]).tolist():
        found[chip] = tuple(chip_affine(grid, chips[chip], angle))[:6]
    return found


def corners(chips: np.ndarray, grid: Grid, angle: float, *, inset: float = 0.0) -> np.ndarray:
    """Upper left, upper right, lower right, lower left corner of chips on the ground, (n, 4, 2).

    Parameters
    ----------
    inset
        Pixels by which chips are shrunk on each side.
    """
    height, width = chips["height"][:, None] / 2, chips["width"][:, None] / 2
    right = (width - inset) * np.array([-1.0, 1.0, 1.0, -1.0])  # (chip, corner), from the centre
    down = (height - inset) * np.array([-1.0, -1.0, 1.0, 1.0])
    turned = np.deg2rad(chips["turn"] * angle)[:, None]
    cos, sin = np.cos(turned), np.sin(turned)
    cols = chips["col"][:, None] + width + cos * right - sin * down
    rows = chips["row"][:, None] + height + sin * right + cos * down
    a, b, c, d, e, f = grid.transform
    return np.stack([a * cols + b * rows + c, d * cols + e * rows + f], axis=-1)


def outlines(chips: np.ndarray, grid: Grid, angle: float = 0.0) -> np.ndarray:
    """Outlines of chips in CRS units, a thousandth of a pixel smaller on each side, (n,) shapely polygons."""
    return np.asarray(shapely.polygons(corners(chips, grid, angle, inset=EDGE)))


def strips(chips: np.ndarray) -> Iterator[tuple[np.ndarray, Window]]:
    """Chips that are not turned, those that adjoin in a row together, with the window that holds them.

    Yields
    ------
    (ndarray, Window)
        Positions among ``chips``, in order.
    """
    unturned = np.flatnonzero(chips["turn"] == 0)
    strip: list[int] = []
    around = Window(0, 0, 0, 0)
    for position in unturned.tolist():
        window = window_of(chips[position])
        wider = Window(
            around.row, around.col, around.height, max(around.col_stop, window.col_stop) - around.col
        )
        adjoins = (window.row, window.height) == (around.row, around.height)
        adjoins = adjoins and around.col <= window.col <= around.col_stop
        if strip and adjoins and wider.height * wider.width <= STRIP_PIXELS:
            strip.append(position)
            around = wider
            continue
        if strip:
            yield np.array(strip), around
        strip, around = [position], window
    if strip:
        yield np.array(strip), around
