"""Several rasters as one: side by side on one grid, or their bands one above the other."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from rasterloom.models.errors import CrsError, RasterError
from rasterloom.pipeline.rasters.grid import Grid, Window, project_bounds, same_crs, same_value
from rasterloom.pipeline.rasters.raster import Raster, resampling_for
from rasterloom.pipeline.rasters.vrt import GDAL_TYPES, add_band, add_mask, add_source, start_vrt, to_xml
from rasterloom.pipeline.rasters.warped import warped_xml

CELL_TOLERANCE = 0.005
"""Parts whose cell sizes differ by less than this share are laid on one grid, each to its nearest pixel."""


@dataclass(frozen=True)
class _Laid:
    """A part of a mosaic, brought onto its grid."""

    path: str
    """What GDAL opens: the part's file, or the XML of a warped view of it."""
    window: Window
    """Where it lies."""
    bands: int
    nodata: float | None
    resampling: str
    """Empty where pixels are taken as they are."""


def mosaic(parts: Sequence[Raster], *, resampling: str | None = None) -> Raster:
    """Lay rasters side by side; where they overlap, the last one that holds something there is on top.

    Parts that are north-up and share a CRS and, but for ``CELL_TOLERANCE``, a cell size are taken pixel for
    pixel, each at the nearest pixel of a grid of the mean cell size. Else the grid is that of the first part,
    continued to all sides, and every part that does not fit it is resampled onto it.

    Parameters
    ----------
    parts
        At least one.
    resampling
        For parts that are resampled; None takes what suits each, as :meth:`Raster.on_grid` does.

    Raises
    ------
    RasterError
        If the parts differ in bands or pixel type.
    CrsError
        If a part cannot be brought into the CRS of the first.

    References
    ----------
    GDAL documentation, "VRT -- GDAL Virtual Format".
    """
    _check_alike(parts)
    if all(_fits(part, parts[0]) for part in parts):
        grid = _common_grid(parts)
        laid = [_as_it_is(part, _place(part, grid)) for part in parts]
    else:
        grid, laid = _laid_on_first(parts, resampling)
    nodata = _shared_nodata(parts)
    return replace(
        parts[0],
        name=f"mosaic of {len(parts)} rasters in {Path(parts[0].name).parent}",
        path=_mosaic_xml(laid, grid, parts[0], nodata),
        native=grid,
        grid=grid,
        nodata=nodata,
        alpha=False,
        remote=any(part.remote for part in parts),
        etag=_token(parts, laid),
    )


def stack(
    parts: Sequence[Raster],
    names: Sequence[str],
    *,
    numbers: Sequence[Sequence[int]],
    resampling: str | None = None,
) -> Raster:
    """Bands of several parts as those of one raster, on the grid of the part with the smallest cells.

    Parts on another grid are resampled to it.

    Parameters
    ----------
    parts
        At least one, all of one pixel type.
    names
        Of all bands, in order.
    numbers
        Which bands of each part, from 1.
    resampling
        As in :func:`mosaic`.

    Raises
    ------
    RasterError
        If the parts differ in pixel type.
    """
    _check_types(parts)
    grid = min(parts, key=lambda part: math.prod(part.grid.cell_size)).grid
    whole = Window(0, 0, *grid.shape)
    laid = [
        _as_it_is(part, whole) if _same_grid(part.grid, grid) else _warped(part, grid, whole, resampling)
        for part in parts
    ]
    nodata = _shared_nodata(parts)
    root = start_vrt(grid)
    places = [(each, number) for each, wanted in zip(laid, numbers, strict=True) for number in wanted]
    for index, ((each, number), name) in enumerate(zip(places, names, strict=True), start=1):
        band = add_band(root, index, parts[0].dtype, name=name, nodata=nodata)
        add_source(band, each.path, each.window, str(number))
    if nodata is None:
        _add_masks(root, laid)
    return replace(
        parts[0],
        path=to_xml(root),
        native=grid,
        grid=grid,
        bands=tuple(names),
        nodata=nodata,
        alpha=False,
        remote=any(part.remote for part in parts),
        indexed=False,
        etag=_token(parts, laid),
    )


def _mosaic_xml(laid: Sequence[_Laid], grid: Grid, first: Raster, nodata: float | None) -> str:
    root = start_vrt(grid)
    # looking up the masks of the parts doubles the time of a read: only where one may cover another
    overlap = _any_overlap([each.window for each in laid])
    for index, name in enumerate(first.bands):
        band = add_band(root, index + 1, first.dtype, name=name, nodata=nodata)
        for each in laid:
            masked = each.nodata is None and overlap
            add_source(band, each.path, each.window, str(index + 1), nodata=each.nodata, masked=masked)
    if nodata is None:
        # without nodata, the gaps between the parts and the parts' own masks are what is not valid
        _add_masks(root, laid)
    return to_xml(root)


def _add_masks(root: Element, laid: Sequence[_Laid]) -> None:
    mask = add_mask(root)
    for each in laid:
        # a pixel holds something where any band does: each band's mask adds to the one below it
        bands = each.bands if each.nodata is not None else 1
        for number in range(1, bands + 1):
            add_source(mask, each.path, each.window, f"mask,{number}", nodata=0.0)


def _check_types(parts: Sequence[Raster]) -> None:
    first = parts[0]
    if first.dtype not in GDAL_TYPES:
        raise RasterError(f"rasters of type {first.dtype} cannot be laid together.")
    for part in parts:
        if part.dtype != first.dtype:
            raise RasterError(
                f"{part.name} has pixel type {part.dtype}, {first.name} has {first.dtype}: "
                "one raster needs them alike (gdal_translate -ot), or choose parts of one type."
            )
        if part.path is None or ("://" in part.path[:64] and not part.path.startswith(("<", "/"))):
            raise RasterError(f"{part.name} can be read by itself only: copy it to a local file first.")


def _check_alike(parts: Sequence[Raster]) -> None:
    _check_types(parts)
    for part in parts:
        if part.band_count != parts[0].band_count:
            raise RasterError(
                f"{part.name} has {part.band_count} bands, {parts[0].name} has {parts[0].band_count}: "
                "a mosaic needs them alike."
            )


def _shared_nodata(parts: Sequence[Raster]) -> float | None:
    """The nodata value of all parts; None where they differ, and their masks say what is valid."""
    first = parts[0].nodata
    return first if all(same_value(part.nodata, first) for part in parts) else None


def _fits(part: Raster, first: Raster) -> bool:
    """Whether the part's pixels can be taken as they are beside those of a north-up first part."""
    a, b, _, d, e, _ = part.grid.transform
    if b or d or a < 0 or e > 0 or not same_crs(part.grid.crs, first.grid.crs):
        return False
    ratios = (ours / theirs for ours, theirs in zip(part.grid.cell_size, first.grid.cell_size, strict=True))
    return all(abs(ratio - 1) <= CELL_TOLERANCE for ratio in ratios)


def _common_grid(parts: Sequence[Raster]) -> Grid:
    bounds = [part.grid.bounds for part in parts]
    west, south = min(b[0] for b in bounds), min(b[1] for b in bounds)
    east, north = max(b[2] for b in bounds), max(b[3] for b in bounds)
    width_of_cell = sum(part.grid.cell_size[0] for part in parts) / len(parts)
    height_of_cell = sum(part.grid.cell_size[1] for part in parts) / len(parts)
    width, height = round((east - west) / width_of_cell), round((north - south) / height_of_cell)
    # the cell is what the extent divides into: parts then stay in place over any distance
    cell = ((east - west) / width, (north - south) / height)
    return Grid(parts[0].grid.crs, (cell[0], 0.0, west, 0.0, -cell[1], north), height, width)


def _laid_on_first(parts: Sequence[Raster], resampling: str | None) -> tuple[Grid, list[_Laid]]:
    """The first part's grid, grown until it holds every part, and the parts on it."""
    first = parts[0].grid
    a, b, _, d, e, _ = first.transform
    base = first if not (b or d or a < 0 or e > 0) else first.regridded()
    anchor = replace(parts[0], grid=base)
    kept = [_fits(part, anchor) for part in parts]
    windows = [
        _place(part, base) if fits else _covered(part, base) for part, fits in zip(parts, kept, strict=True)
    ]
    row, col = min(w.row for w in windows), min(w.col for w in windows)
    stop_row, stop_col = max(w.row_stop for w in windows), max(w.col_stop for w in windows)
    grid = base.cropped(Window(row, col, stop_row - row, stop_col - col))
    moved = [replace(w, row=w.row - row, col=w.col - col) for w in windows]
    return grid, [
        _as_it_is(part, window) if fits else _warped(part, grid, window, resampling)
        for part, window, fits in zip(parts, moved, kept, strict=True)
    ]


def _covered(part: Raster, base: Grid) -> Window:
    """The cells of ``base``, continued to all sides, that a part touches."""
    bounds = part.grid.bounds
    if not same_crs(part.grid.crs, base.crs):
        try:
            bounds = project_bounds(bounds, part.grid.crs, base.crs)
        except CrsError as error:
            raise CrsError(f"{part.name} cannot be laid beside the first part: {error}") from error
    west, south, east, north = bounds
    left, top = ~base.affine @ (west, north)
    right, bottom = ~base.affine @ (east, south)
    row, col = math.floor(top + 0.01), math.floor(left + 0.01)
    return Window(row, col, max(math.ceil(bottom - 0.01) - row, 1), max(math.ceil(right - 0.01) - col, 1))


def _as_it_is(part: Raster, window: Window) -> _Laid:
    path = str(part.path)
    if part.alpha:
        path = _with_mask(path, part, part.grid)
    return _Laid(path, window, part.band_count, part.nodata, "")


def _warped(part: Raster, grid: Grid, window: Window, resampling: str | None) -> _Laid:
    how = resampling_for(part, grid, resampling)
    place = grid.cropped(window)
    view = warped_xml(part, place, how)
    if part.nodata is None:
        view = _with_mask(view, part, place)
    return _Laid(view, window, part.band_count, part.nodata, how)


def _with_mask(path: str, part: Raster, grid: Grid) -> str:
    """A view whose mask is the alpha band: GDAL itself makes a mask of it only with some types and counts."""
    root = start_vrt(grid)
    whole = Window(0, 0, *grid.shape)
    for number in range(1, part.band_count + 1):
        add_source(add_band(root, number, part.dtype), path, whole, str(number))
    add_source(add_mask(root), path, whole, str(part.band_count + 1))
    return to_xml(root)


def _place(part: Raster, grid: Grid) -> Window:
    west, _, _, north = part.grid.bounds
    col, row = ~grid.affine @ (west, north)
    return Window(round(row), round(col), *part.grid.shape)


def _same_grid(first: Grid, second: Grid) -> bool:
    close = all(
        abs(a - b) < 0.01 * min(second.cell_size) for a, b in zip(first.bounds, second.bounds, strict=True)
    )
    rotation = zip(first.transform[:5], second.transform[:5], strict=True)
    alike = all(
        math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12) for index, (a, b) in enumerate(rotation) if index != 2
    )
    return first.shape == second.shape and close and alike and same_crs(first.crs, second.crs)


def _token(parts: Sequence[Raster], laid: Sequence[_Laid]) -> str:
    stated = "".join(f"{part.etag}{each.resampling}" for part, each in zip(parts, laid, strict=True))
    return hashlib.sha256(stated.encode()).hexdigest()


def _any_overlap(places: Sequence[Window]) -> bool:
    """Whether any two windows share a pixel."""
    edges = np.array([(w.row, w.row_stop, w.col, w.col_stop) for w in places])
    top, bottom, left, right = edges.T
    for index, (row, row_stop, col, col_stop) in enumerate(edges[:-1]):
        later = slice(index + 1, None)
        meets = (top[later] < row_stop) & (bottom[later] > row) & (left[later] < col_stop)
        if (meets & (right[later] > col)).any():
            return True
    return False
