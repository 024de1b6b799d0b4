"""Arrays as rasters, and rasters as arrays that nobody has read yet."""

from typing import Any

import numpy as np
from affine import Affine

from rasterloom.models.errors import CrsError, RasterError
from rasterloom.pipeline.rasters.grid import Grid, Window, same_crs, same_value
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window

_OPENED = "rasterloom"
"""Key in ``DataArray.encoding`` under which :func:`mark_opened` keeps where the pixels come from."""

_NAMES = "band_names"
"""Key in ``DataArray.attrs`` of the names of all bands of the file, in its order."""

_UNEVEN = 0.25
"""Pixels that a coordinate may lie off an even grid: coordinates stored as float32 do, a little."""


def mark_opened(array: Any, raster: Raster) -> Any:
    """The array, with a note that its pixels are those of ``raster``, good until something is computed."""
    array.encoding[_OPENED] = (array.data.name, array_nodata(array), raster)
    # not under "long_name": rioxarray cannot write an index computed from several bands that still has it
    array.attrs.pop("long_name", None)
    array.attrs[_NAMES] = raster.bands
    return array


def describe_array(array: Any) -> Raster:
    """Say what a georeferenced (band, y, x) or (y, x) ``DataArray`` is.

    Returns
    -------
    Raster
        Backed by the file that the array was opened from, as long as its pixels, place and nodata are what
        that file says; else by the array.

    Raises
    ------
    RasterError
        If its dimensions are not those of a raster, its coordinates are not evenly spaced, or it holds
        something else than real numbers.
    CrsError
        If it has no coordinate reference system.
    """
    array = band_y_x(array)
    grid = array_grid(array)
    nodata = array_nodata(array)
    opened = _opened_from(array, grid, nodata)
    if opened is not None:
        return opened
    return Raster(
        name=f"array {array.name or ''}".strip(),
        path=None,
        array=array,
        native=grid,
        grid=grid,
        bands=array_bands(array),
        dtype=array.dtype.name,
        nodata=nodata,
        resampling="nearest",
        etag=_array_token(array),
    )


def lazy_windows(raster: Raster, chunks: int) -> Any:
    """A (band, y, x) ``DataArray`` on ``raster.grid`` whose chunks are read when they are computed."""
    import dask.array
    from dask.base import tokenize

    height, width = raster.grid.shape
    sides = ((raster.band_count,), _sides(height, chunks), _sides(width, chunks))
    pixels = dask.array.map_blocks(
        _read_block,
        raster=raster,
        chunks=sides,
        dtype=raster.dtype,
        meta=np.empty((0, 0, 0), raster.dtype),
        name=f"raster-{tokenize(raster.etag, raster.grid, raster.resampling, chunks)}",
    )
    return lay_on_grid(pixels, raster.grid, raster.nodata)


def lay_on_grid(pixels: Any, grid: Grid, nodata: float | None) -> Any:
    """A georeferenced ``DataArray`` of (band, y, x) pixels, lazy or not, with coordinates."""
    import rioxarray  # noqa: F401  gives arrays their .rio
    import xarray

    bands = range(1, pixels.shape[0] + 1)
    array = xarray.DataArray(pixels, dims=("band", "y", "x"), coords={"band": bands})
    array = array.rio.write_crs(grid.crs).rio.write_transform(grid.affine)
    if nodata is not None:
        array = array.rio.write_nodata(nodata)
    a, b, c, d, e, f = grid.transform
    if b or d:  # no single x for a column
        return array
    x, y = c + a * (np.arange(grid.width) + 0.5), f + e * (np.arange(grid.height) + 0.5)
    return array.assign_coords(x=x, y=y)


def _read_block(raster: Raster, block_info: Any = None) -> np.ndarray:
    _, rows, cols = block_info[None]["array-location"]
    window = Window(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0])
    return read_window(raster, window)[0]


def _sides(length: int, chunk: int) -> tuple[int, ...]:
    return tuple(min(chunk, length - start) for start in range(0, length, chunk))


def band_y_x(array: Any) -> Any:
    """The array with dimensions (band, y, x), whatever they are called.

    Raises
    ------
    RasterError
        If it is not a raster of real numbers.
    """
    import rioxarray  # noqa: F401  gives arrays their .rio
    from rioxarray.exceptions import RioXarrayError

    if not hasattr(array, "ndim"):
        names = ", ".join(str(name) for name in getattr(array, "data_vars", ()))
        raise RasterError(f"a Dataset is not one raster: choose one of its variables ({names}).")
    if array.ndim == 2:
        array = array.expand_dims("band")
    try:
        y, x = array.rio.y_dim, array.rio.x_dim
    except RioXarrayError as error:
        raise RasterError(
            f"an array with dimensions {array.dims} is not a raster: it needs (band, y, x). "
            "Name them with DataArray.rename."
        ) from error
    if array.ndim != 3 or 0 in array.shape:
        raise RasterError(
            f"an array with dimensions {dict(array.sizes)} is not a raster: "
            "it needs (band, y, x), each with something in it."
        )
    if array.dtype.kind not in "iuf":
        raise RasterError(f"an array of {array.dtype} is not a raster: bring it to real numbers (astype).")
    return array.transpose(..., y, x)


def array_grid(array: Any) -> Grid:
    """Where the pixels of a (band, y, x) array lie.

    Raises
    ------
    RasterError
        If it does not say, or its coordinates are not even.
    CrsError
        If it has no coordinate reference system.
    """
    from rioxarray.exceptions import RioXarrayError

    if array.rio.crs is None:
        raise CrsError("the array has no coordinate reference system: set it with DataArray.rio.write_crs.")
    height, width = int(array.shape[1]), int(array.shape[2])
    try:
        affine = array.rio.transform()
        if affine.is_rectilinear:  # neither rotated nor sheared: the coordinates are the newer truth
            _check_even(array)
            affine = array.rio.transform(recalc=True)
        else:
            affine = _rotated(array, affine)
    except RioXarrayError as error:
        raise RasterError(f"the array does not say where its pixels lie: {error}") from error
    if affine.is_identity:
        raise RasterError(
            "the array does not say where its pixels lie: give it x and y coordinates of pixel centres, "
            "or a transform (DataArray.rio.write_transform)."
        )
    return Grid(array.rio.crs.to_wkt(), tuple(affine)[:6], height, width)


def _check_even(array: Any) -> None:
    for dim in (array.rio.y_dim, array.rio.x_dim):
        if dim not in array.coords or array.sizes[dim] < 3:
            continue
        centres = np.asarray(array.coords[dim], np.float64)
        even = np.linspace(centres[0], centres[-1], len(centres))
        step = abs(centres[-1] - centres[0]) / (len(centres) - 1)
        if not np.abs(centres - even).max() <= _UNEVEN * step:
            raise RasterError(
                f"the coordinates {dim} of the array are not evenly spaced: "
                "bring it to an even grid first (DataArray.interp)."
            )


def _rotated(array: Any, affine: Affine) -> Affine:
    """The transform of a rotated array, moved to where its own two-dimensional coordinates begin."""
    if "xc" not in array.coords or "yc" not in array.coords:
        return affine
    corner = array.isel({array.rio.y_dim: slice(0, 1), array.rio.x_dim: slice(0, 1)})
    x, y = float(corner.coords["xc"].values.item()), float(corner.coords["yc"].values.item())
    col, row = ~affine @ (x, y)
    return affine @ Affine.translation(round(col - 0.5), round(row - 0.5))


def _opened_from(array: Any, grid: Grid, nodata: float | None) -> Raster | None:
    """The raster that :func:`mark_opened` noted, if the array still is what it was then."""
    name, given, raster = array.encoding.get(_OPENED, ("", None, None))
    if raster is None or getattr(array.data, "name", None) != name or not same_value(nodata, given):
        return None
    moved = max(abs(a - b) for a, b in zip(grid.bounds, raster.grid.bounds, strict=True))
    same_place = moved < 0.01 * min(grid.cell_size) and same_crs(grid.crs, raster.grid.crs)
    return raster if same_place else None


def array_nodata(array: Any) -> float | None:
    """The value that stands for nothing, if the array names one."""
    return None if array.rio.nodata is None else float(array.rio.nodata)


def array_bands(array: Any) -> tuple[str, ...]:
    """Names of the bands: those of the file they were read from, else their numbers."""
    names = array.attrs.get(_NAMES, array.attrs.get("long_name", ()))
    names = (names,) if isinstance(names, str) else names
    count = array.shape[0]
    numbers = np.asarray(array.coords["band"]) if "band" in array.coords else np.empty(0)
    if (
        numbers.shape == (count,)
        and numbers.dtype.kind in "iu"
        and 1 <= numbers.min() <= numbers.max() <= len(names)
    ):
        return tuple(str(names[int(number) - 1]) for number in numbers)  # which bands, after a selection
    if len(names) == count:
        return tuple(str(name) for name in names)
    return tuple(f"Band_{index + 1}" for index in range(count))


def _array_token(array: Any) -> str:
    from dask.base import tokenize

    return str(tokenize(array))
