"""Features to class pixels."""

import numpy as np

from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.labels.runs import Runs, runs_of
from rasterloom.pipeline.rasters.grid import Grid, Window

_PIXELS = 4_000_000
"""Pixels that are burned at once, however many features lie on each other."""


def burn(labels: Labels, grid: Grid, window: Window, dtype: str = "uint8") -> np.ndarray:
    """The class value of each pixel of a window, whatever the window is cut from.

    A pixel belongs to a polygon that holds its centre; lines and points fill the pixels they run
    through. Where features overlap, the later one in the file wins. 0 where there is none.

    Parameters
    ----------
    labels
        Features in the grid's CRS.
    grid
        The raster's grid.
    window
        Rows and columns on the grid; it may reach beyond it.
    dtype
        Type of the result; it must hold every class value.

    Returns
    -------
    ndarray, (row, column)
        What GDAL burns into the whole raster.
    """
    burned = np.zeros((window.height, window.width), dtype)
    found = labels.touching(grid.window_bounds(window))
    if len(found):
        runs = runs_of(labels.geometries[found], grid, window)
        _paint(burned, runs, labels.values[found].astype(dtype), window)
    return burned


def _paint(burned: np.ndarray, runs: Runs, values: np.ndarray, window: Window) -> None:
    """Fill runs in their order; of two values for a pixel, NumPy keeps the later."""
    flat = burned.reshape(-1)
    lengths = runs.stop - runs.start
    ends = np.cumsum(lengths)
    first = (runs.row - window.row) * window.width + runs.start - window.col
    blocks = np.searchsorted(ends, np.arange(_PIXELS, ends[-1] if len(ends) else 0, _PIXELS))
    for block in np.split(np.arange(len(lengths)), blocks):
        count = lengths[block]
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        flat[np.repeat(first[block], count) + offset] = np.repeat(values[runs.feature[block]], count)
