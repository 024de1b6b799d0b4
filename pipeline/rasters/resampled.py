"""Arrays on another grid: resampled block by block, the same for every window that is read."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform

from rasterloom.pipeline.rasters.gdal import FAILURES
from rasterloom.pipeline.rasters.grid import Grid, Window, pixels_per_cell, same_crs
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.warped import kernel_scales

BLOCK = 512
"""Side, in cells, of the blocks. They begin at the grid's corner, so a cell's value knows no window."""

_KEPT = 8
"""Blocks that a thread keeps: neighbouring windows meet the same ones."""

_PROBES = 9
"""Points along each side of a block that are looked up to find the pixels it draws on."""

_local = threading.local()

Read = Callable[[Raster, Window, Sequence[int]], tuple[np.ndarray, np.ndarray]]
"""Pixels (band, row, column) and validity (row, column) of a window of a raster's native grid."""


def read_resampled(
    raster: Raster, window: Window, bands: Sequence[int], read: Read
) -> tuple[np.ndarray, np.ndarray]:
    """Read a window of ``raster.grid``, resampling what ``read`` gives of the native grid."""
    pixels = np.empty((len(bands), window.height, window.width), raster.dtype)
    valid = np.empty((window.height, window.width), bool)
    for top in range(window.row // BLOCK * BLOCK, window.row_stop, BLOCK):
        for left in range(window.col // BLOCK * BLOCK, window.col_stop, BLOCK):
            block = Window(top, left, BLOCK, BLOCK).clipped(raster.grid.shape)
            found, seen = _block(raster, block, tuple(bands), read)
            rows = slice(max(block.row, window.row), min(block.row_stop, window.row_stop))
            cols = slice(max(block.col, window.col), min(block.col_stop, window.col_stop))
            there = _moved(rows, -window.row), _moved(cols, -window.col)
            here = _moved(rows, -block.row), _moved(cols, -block.col)
            pixels[:, *there], valid[there] = found[:, *here], seen[here]
    return pixels, valid


def _moved(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def _block(
    raster: Raster, block: Window, bands: tuple[int, ...], read: Read
) -> tuple[np.ndarray, np.ndarray]:
    kept: OrderedDict[object, tuple[np.ndarray, np.ndarray]] = _local.__dict__.setdefault(
        "kept", OrderedDict()
    )
    key = raster.etag, raster.grid, raster.resampling, bands, block
    if key not in kept:
        kept[key] = _resampled(raster, block, bands, read)
        while len(kept) > _KEPT:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]


def _resampled(
    raster: Raster, block: Window, bands: tuple[int, ...], read: Read
) -> tuple[np.ndarray, np.ndarray]:
    needed = _needed(raster.native, raster.grid, block)
    if needed.height == 0 or needed.width == 0:
        shape = (block.height, block.width)
        return np.zeros((len(bands), *shape), raster.dtype), np.zeros(shape, bool)
    pixels, _ = read(raster, needed, bands)
    source = raster.native.cropped(needed)
    profile = {"count": len(bands), "height": needed.height, "width": needed.width, "dtype": raster.dtype}
    with MemoryFile() as memory:
        place = {"crs": source.crs, "transform": source.affine}
        with memory.open(
            driver="GTiff", BIGTIFF="IF_SAFER", nodata=raster.nodata, **place, **profile
        ) as target:
            target.write(pixels)
        with memory.open() as target, _warped(target, raster, block) as view:
            found = view.read(list(range(1, len(bands) + 1)))
            # with a nodata value, the pixels themselves say what is valid
            seen = view.read(view.count) > 0 if raster.nodata is None else np.ones(found.shape[1:], bool)
    return found, seen


def _warped(source: object, raster: Raster, block: Window) -> WarpedVRT:
    grid = raster.grid.cropped(block)
    return WarpedVRT(
        source,
        crs=grid.crs,
        transform=grid.affine,
        height=grid.height,
        width=grid.width,
        resampling=Resampling[raster.resampling],
        add_alpha=raster.nodata is None,
        tolerance=1e-12,
        **kernel_scales(raster.native, raster.grid),
    )


def _mapped(affine: Affine, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d, e, f = tuple(affine)[:6]
    return a * x + b * y + c, d * x + e * y + f


def _needed(native: Grid, grid: Grid, block: Window) -> Window:
    """The pixels that a block of cells draws on, with a margin for the kernel."""
    steps = np.linspace(0.0, 1.0, _PROBES)
    cols, rows = np.meshgrid(block.col + steps * block.width, block.row + steps * block.height)
    xs, ys = _mapped(grid.affine, cols.ravel(), rows.ravel())
    if not same_crs(native.crs, grid.crs):
        try:
            xs, ys = (np.asarray(each) for each in transform(grid.crs, native.crs, xs, ys))
        except FAILURES:
            return Window(0, 0, *native.shape)  # partly out of reach: GDAL finds what there is
    col, row = _mapped(~native.affine, xs, ys)
    known = np.isfinite(col) & np.isfinite(row)
    if not known.all():
        return Window(0, 0, *native.shape)
    scale = pixels_per_cell(native, grid)
    # three pixels or cells either way for the widest kernel, and some for curves between the probes
    margin = math.ceil(3 * max(1.0, *(each for each in scale if math.isfinite(each)))) + 8
    top, left = math.floor(row.min()) - margin, math.floor(col.min()) - margin
    stop = math.ceil(row.max()) + margin, math.ceil(col.max()) + margin
    return Window(top, left, stop[0] - top, stop[1] - left).clipped(native.shape)
