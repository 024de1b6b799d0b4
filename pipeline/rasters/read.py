"""Read windows of a raster through file handles that each thread keeps for itself."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as GdalWindow

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.rasters.addresses import redacted
from rasterloom.pipeline.rasters.gdal import FAILURES, open_source, reading
from rasterloom.pipeline.rasters.grid import Window, whole_shift
from rasterloom.pipeline.rasters.mirror import Mirror
from rasterloom.pipeline.rasters.raster import JudgedPixels, Pixels, Raster
from rasterloom.pipeline.rasters.resampled import read_resampled
from rasterloom.pipeline.rasters.warped import kernel_scales

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
    if isinstance(raster.array, JudgedPixels):
        assert raster.grid == raster.native, f"{raster.name} is brought onto a grid part by part"
        return raster.array.read_valid(window, chosen)
    try:
        with reading(remote=raster.remote):
            return _read(raster, window, chosen)
    except FAILURES as error:
        _forget(raster)
        said = redacted(str(error))
        raise ReadError(f"{raster.name}: {window} could not be read: {said}") from (
            error if said == str(error) else None
        )


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
    mirror = Mirror(window, raster.grid.shape)
    pixels, valid = read_window(raster, mirror.needed, bands)
    return mirror.fill(pixels), mirror.fill(valid)


def _read(raster: Raster, window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    native = _read_file if raster.array is None else _read_array
    shift = (0, 0) if raster.grid == raster.native else whole_shift(raster.native, raster.grid)
    if shift == (0, 0) and raster.grid.shape == raster.native.shape:
        return native(raster, window, bands)
    if shift is not None:
        return _read_moved(native, raster, window, bands, shift)
    if raster.array is not None:
        pixels, valid = read_resampled(raster, window, bands, _read_array)
        return pixels, valid & valid_pixels(pixels, raster.nodata)
    return _read_file(raster, window, bands)


def _read_moved(
    native: Any, raster: Raster, window: Window, bands: Sequence[int], shift: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the native grid where the window meets it, and nothing elsewhere."""
    wanted = replace(window, row=window.row + shift[0], col=window.col + shift[1])
    inside = wanted.clipped(raster.native.shape)
    if inside == wanted:
        return native(raster, wanted, bands)
    pixels = np.full((len(bands), window.height, window.width), _empty(raster), raster.dtype)
    valid = np.zeros((window.height, window.width), bool)
    if inside.height and inside.width:
        spot = replace(inside, row=inside.row - wanted.row, col=inside.col - wanted.col).slices
        pixels[:, *spot], valid[spot] = native(raster, inside, bands)
    return pixels, valid


def _empty(raster: Raster) -> float:
    """What stands in pixels outside of the source: its nodata value, if its type can hold it."""
    kind = np.dtype(raster.dtype)
    if raster.nodata is None:
        return 0
    if kind.kind == "f":
        return raster.nodata
    held = float(raster.nodata).is_integer() and np.iinfo(kind).min <= raster.nodata <= np.iinfo(kind).max
    return int(raster.nodata) if held else 0


def _read_file(raster: Raster, window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    source = _handle(raster)
    place = GdalWindow(window.col, window.row, window.width, window.height)
    pixels = source.read([band + 1 for band in bands], window=place)
    if raster.nodata is not None:
        return pixels, _not_nodata(pixels, raster.nodata)
    if source.count > raster.band_count:
        # GDAL's own mask knows an alpha band only in files of two or four bands of small integers
        return pixels, (source.read(source.count, window=place) > 0) & _numbers(pixels)
    if all(flags == [MaskFlags.all_valid] for flags in source.mask_flag_enums):
        return pixels, _numbers(pixels)
    return pixels, (source.dataset_mask(window=place) > 0) & _numbers(pixels)


def valid_pixels(pixels: np.ndarray, nodata: float | None) -> np.ndarray:
    """Where (band, row, column) pixels hold something, by their values alone.

    Returns
    -------
    ndarray of bool, (row, column)
        True where at least one band is not ``nodata`` and all are finite.
    """
    return _numbers(pixels) if nodata is None else _not_nodata(pixels, nodata)


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
    if raster.grid == raster.native or whole_shift(raster.native, raster.grid) is not None:
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
        add_alpha=raster.nodata is None and not raster.alpha,
        # pixels: GDAL approximates coordinates within this, anew for each window, and refuses an exact 0
        tolerance=1e-12,
        warp_mem_limit=64,
        **kernel_scales(raster.native, raster.grid),
    )


def _forget(raster: Raster) -> None:
    opened = getattr(_local, "handles", {}).pop(_key(raster), None)
    if opened:
        _close(opened)


def _close(opened: Sequence[Any]) -> None:
    for data_set in opened:
        data_set.close()


def _read_array(raster: Raster, window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.asarray(_array_pixels(raster.array, window, bands)).astype(raster.dtype, copy=False)
    return pixels, valid_pixels(pixels, raster.nodata)


def _array_pixels(array: Any, window: Window, bands: Sequence[int]) -> Any:
    if isinstance(array, Pixels):
        return array.read(window, bands)
    rows, cols = window.slices
    data = array[list(bands), rows, cols].data
    # this thread is already one of many: a scheduler of its own would only compete
    return data.compute(scheduler="synchronous") if hasattr(data, "compute") else data
