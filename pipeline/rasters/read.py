"""Read windows of a raster through file handles that each thread keeps for itself."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as GdalWindow

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.rasters.gdal import FAILURES, open_source, reading
from rasterloom.pipeline.rasters.grid import Window, pixels_per_cell, reflect_indices
from rasterloom.pipeline.rasters.raster import Raster

HANDLES = 4
"""Open data sets that a thread keeps."""

_local = threading.local()


def read_window(
    raster: Raster, window: Window, bands: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a window that lies inside the raster.

    Parameters
    ----------
    raster
        Where to read.
    window
        Rows and columns on ``raster.grid``.
    bands
        0-based bands, in the order wanted. None reads all.

    Returns
    -------
    pixels : ndarray, (band, row, column), in the raster's own type
    valid : ndarray of bool, (row, column)
        True where at least one of these bands holds a value that is not nodata, all are finite, and the
        file's own mask or alpha band says so too.

    Raises
    ------
    ReadError
        If the pixels cannot be read or decoded. The message names file and window.
    """
    assert window == window.clipped(raster.grid.shape), f"{window} reaches beyond {raster.grid.shape}"
    chosen = list(range(raster.band_count)) if bands is None else list(bands)
    read = _read_file if raster.array is None else _read_array
    try:
        with reading():
            return read(raster, window, chosen)
    except FAILURES as error:
        _forget(raster)
        raise ReadError(f"{raster.name}: {window} could not be read: {error}") from error


def read_padded(
    raster: Raster, window: Window, bands: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a window that may reach beyond the raster; what lies outside is mirrored at the edge.

    The value of a pixel outside depends on the raster alone, never on the window: rows mirrored from
    outside the window are read too.

    Returns
    -------
    pixels : ndarray, (band, row, column)
    valid : ndarray of bool, (row, column)
        Mirrored like the pixels.
    """
    if window.height == 0 or window.width == 0:
        shape = (window.height, window.width)
        count = raster.band_count if bands is None else len(bands)
        return np.empty((count, *shape), raster.dtype), np.empty(shape, bool)
    rows = np.asarray(reflect_indices(window.row, window.row_stop, raster.grid.height))
    cols = np.asarray(reflect_indices(window.col, window.col_stop, raster.grid.width))
    row, col = int(rows.min()), int(cols.min())
    needed = Window(row, col, int(rows.max()) - row + 1, int(cols.max()) - col + 1)
    pixels, valid = read_window(raster, needed, bands)
    if needed == window:
        return pixels, valid
    inner = np.ix_(rows - row, cols - col)
    return pixels[:, inner[0], inner[1]], valid[inner]


def _read_file(raster: Raster, window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    source = _handle(raster)
    place = GdalWindow(window.col, window.row, window.width, window.height)
    pixels = source.read([band + 1 for band in bands], window=place)
    if raster.nodata is not None:
        return pixels, _not_nodata(pixels, raster.nodata)
    if all(flags == [MaskFlags.all_valid] for flags in source.mask_flag_enums):
        return pixels, _numbers(pixels)
    return pixels, (_mask(source, place) > 0) & _numbers(pixels)


def _mask(source: Any, place: GdalWindow) -> np.ndarray:
    colors = source.colorinterp
    if ColorInterp.alpha in colors:  # GDAL's own mask forgets it where the file has a nodata value too
        return np.asarray(source.read(colors.index(ColorInterp.alpha) + 1, window=place))
    return np.asarray(source.dataset_mask(window=place))


def _not_nodata(pixels: np.ndarray, nodata: float) -> np.ndarray:
    if np.isnan(nodata):
        return _numbers(pixels)
    # dark pixels have single bands at a nodata of 0: only all bands together say that nothing is there
    return ~(pixels == nodata).all(axis=0) & _numbers(pixels)


def _numbers(pixels: np.ndarray) -> np.ndarray:
    """Where no band is NaN or infinite, which a network would spread over its whole field of view."""
    if not np.issubdtype(pixels.dtype, np.floating):
        return np.ones(pixels.shape[1:], bool)
    return np.isfinite(pixels).all(axis=0)


def _handle(raster: Raster) -> Any:
    """The thread's open data set for this raster: opened once, the least used one closed."""
    handles: OrderedDict[Any, list[Any]] = _local.__dict__.setdefault("handles", OrderedDict())
    key = _key(raster)
    if key not in handles:
        handles[key] = _opened(raster)
        while len(handles) > HANDLES:
            _close(handles.popitem(last=False)[1])
    handles.move_to_end(key)
    return handles[key][0]


def _key(raster: Raster) -> tuple[Any, ...]:
    # a forked process shares the file positions of its parent's handles: it must open its own
    return os.getpid(), raster.etag, raster.path, raster.grid, raster.resampling


def _opened(raster: Raster) -> list[Any]:
    source = open_source(str(raster.path))
    if raster.grid == raster.native:
        return [source]
    try:
        return [_warped(source, raster), source]
    except FAILURES:
        source.close()
        raise


def _warped(source: Any, raster: Raster) -> WarpedVRT:
    return WarpedVRT(
        source,
        crs=raster.grid.crs,
        transform=raster.grid.affine,
        height=raster.grid.height,
        width=raster.grid.width,
        resampling=Resampling[raster.resampling],
        add_alpha=raster.nodata is None and ColorInterp.alpha not in source.colorinterp,
        # pixels: GDAL approximates coordinates within this, anew for each window, and refuses an exact 0
        tolerance=1e-12,
        warp_mem_limit=64,
        **_scales(raster),
    )


def _scales(raster: Raster) -> dict[str, str]:
    """Cells per pixel, for GDAL's kernel widths, which it would else guess from the shape of each window."""
    across, down = pixels_per_cell(raster.native, raster.grid)
    if not (np.isfinite(across) and np.isfinite(down)):
        return {}
    # up to one pixel per cell there is nothing to smooth
    return {"XSCALE": repr(1 / max(across, 1.0)), "YSCALE": repr(1 / max(down, 1.0))}


def _forget(raster: Raster) -> None:
    opened = getattr(_local, "handles", {}).pop(_key(raster), None)
    if opened:
        _close(opened)


def _close(opened: Sequence[Any]) -> None:
    for data_set in opened:
        data_set.close()


def _read_array(raster: Raster, window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = window.slices
    part = raster.array[bands, rows, cols]
    data = part.data
    if hasattr(data, "compute"):
        # this thread is already one of many: a scheduler of its own would only compete
        data = data.compute(scheduler="synchronous")
    pixels = np.asarray(data).astype(raster.dtype, copy=False)
    if raster.nodata is not None:
        return pixels, _not_nodata(pixels, raster.nodata)
    return pixels, _numbers(pixels)
