"""Pixels of chips: read in strips where chips adjoin, sampled between pixels where they are turned."""

import math

import numpy as np
from scipy.ndimage import map_coordinates

from rasterloom.pipeline.chips.places import chip_affine, strips, window_of
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window

_HALF = 0.5 - 1e-9
"""Share of a sample that must come from valid pixels."""


def read_chips(
    raster: Raster, chips: np.ndarray, tile: tuple[int, int], *, angle: float = 0.0, nearest: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of chips of one raster.

    A chip depends on its own place alone, whatever is read in the same call.

    Parameters
    ----------
    raster
        On the grid that the chips' windows count on.
    chips
        Table of ``CHIP``.
    tile
        Height and width of the result; a smaller chip lies in the upper left corner.
    angle
        Degrees of one turn.
    nearest
        Take the nearest pixel of a turned chip, for class values. Otherwise its four neighbours count by
        their distance, those that are valid.

    Returns
    -------
    pixels : ndarray, (n, C, H, W)
        0 where nothing is.
    valid : ndarray of bool, (n, H, W)

    Raises
    ------
    ReadError
        If pixels cannot be read.
    """
    pixels = np.zeros((len(chips), raster.band_count, *tile), raster.dtype)
    valid = np.zeros((len(chips), *tile), bool)
    for positions, around in strips(chips):
        strip, there = _around(raster, around)
        for chip in positions.tolist():
            window = window_of(chips[chip])
            col = window.col - around.col
            pixels[chip, :, : window.height, : window.width] = strip[:, :, col : col + window.width]
            valid[chip, : window.height, : window.width] = there[:, col : col + window.width]
    for chip in np.flatnonzero(chips["turn"]).tolist():
        height, width = int(chips["height"][chip]), int(chips["width"][chip])
        found = _turned(raster, chips[chip], angle, nearest)
        pixels[chip, :, :height, :width], valid[chip, :height, :width] = found
    return pixels, valid


def _around(raster: Raster, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """A window that may reach beyond the raster; 0 where nothing is."""
    inside = window.clipped(raster.grid.shape)
    if not inside.height or not inside.width:
        shape = (window.height, window.width)
        return np.zeros((raster.band_count, *shape), raster.dtype), np.zeros(shape, bool)
    pixels, valid = read_window(raster, inside)
    if not valid.all():
        pixels[:, ~valid] = 0
    if inside == window:
        return pixels, valid
    top, left = inside.row - window.row, inside.col - window.col
    margins = (top, window.height - inside.height - top), (left, window.width - inside.width - left)
    return np.pad(pixels, ((0, 0), *margins)), np.pad(valid, margins)


def _turned(raster: Raster, chip: np.void, angle: float, nearest: bool) -> tuple[np.ndarray, np.ndarray]:
    height, width = int(chip["height"]), int(chip["width"])
    # from the chip's columns and rows to the raster's; 0.5 is the middle of a pixel
    to_raster = ~raster.grid.affine @ chip_affine(raster.grid, chip, angle)
    a, b, c, d, e, f = (float(v) for v in tuple(to_raster)[:6])
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    # exact for quarter turns, whose pixels fall on pixels
    cols = np.round(a * col + b * row + c, 6) - 0.5
    rows = np.round(d * col + e * row + f, 6) - 0.5
    first_row, first_col = math.floor(rows.min()) - 1, math.floor(cols.min()) - 1
    last_row, last_col = math.ceil(rows.max()) + 2, math.ceil(cols.max()) + 2
    window = Window(first_row, first_col, last_row - first_row, last_col - first_col)
    pixels, valid = _around(raster, window)
    rows, cols = rows - first_row, cols - first_col
    if nearest:
        place = np.floor(rows + 0.5).astype(np.int64), np.floor(cols + 0.5).astype(np.int64)
        return pixels[:, *place], valid[place]
    return _sampled(pixels, valid, np.stack([rows, cols]))


def _sampled(pixels: np.ndarray, valid: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear samples of (C, H, W) pixels at (2, h, w) rows and columns, from valid pixels only."""
    weight = map_coordinates(valid.astype(np.float64), places, order=1, mode="nearest")
    there = weight >= _HALF
    found = np.zeros((len(pixels), *there.shape), pixels.dtype)
    for band, given in zip(found, pixels, strict=True):
        # invalid pixels are 0 already
        values = map_coordinates(given.astype(np.float64), places, order=1, mode="nearest")
        values = np.divide(values, weight, out=np.zeros_like(values), where=there)
        band[:] = np.rint(values) if pixels.dtype.kind in "iub" else values
    return found, there
