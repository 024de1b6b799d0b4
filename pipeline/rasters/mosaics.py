"""Several rasters as one: a VRT over parts that share a CRS and a cell size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rasterloom.models.errors import RasterError
from rasterloom.pipeline.rasters.grid import Grid, Window, same_crs
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.vrt import GDAL_TYPES, add_band, add_mask, add_source, start_vrt, to_xml

CELL_TOLERANCE = 0.005
"""Parts whose cell sizes differ by less than this share are laid on one grid, each to its nearest pixel."""


def mosaic_xml(parts: Sequence[Raster]) -> tuple[str, Grid]:
    """Lay rasters side by side; where they overlap, the last one that holds something there is on top.

    Returns
    -------
    (str, Grid)
        The XML of a GDAL virtual raster, which GDAL opens like a file, and its grid: the mean cell size,
        anchored at the upper-left corner of them all. Pixels are not resampled.

    Raises
    ------
    RasterError
        If the parts differ in CRS, cell size, bands, pixel type or nodata, or are not north-up.

    References
    ----------
    GDAL documentation, "VRT -- GDAL Virtual Format".
    """
    _check_alike(parts)
    grid = _common_grid(parts)
    root = start_vrt(grid)
    first, nodata = parts[0], parts[0].nodata
    places = [_place(part, grid) for part in parts]
    # looking up the masks of the parts doubles the time of a read: only where one may cover another
    masked = nodata is None and _any_overlap(places)
    for index, name in enumerate(first.bands):
        band = add_band(root, index + 1, first.dtype, name=name, nodata=nodata)
        for part, place in zip(parts, places, strict=True):
            add_source(band, str(part.path), place, str(index + 1), nodata=nodata, masked=masked)
    if nodata is None:
        # without nodata, the gaps between the parts and the parts' own masks are what is not valid
        mask = add_mask(root)
        for part, place in zip(parts, places, strict=True):
            add_source(mask, str(part.path), place, "mask,1", nodata=0.0)
    return to_xml(root), grid


def pinned(raster: Raster, folder: Path) -> Raster:
    """The same raster, a mosaic's XML written to ``folder`` so that what travels to workers stays small."""
    if raster.path is None or not raster.path.startswith("<VRTDataset"):
        return raster
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mosaic-{raster.etag[:16]}.vrt"
    path.write_text(raster.path)
    return replace(raster, path=str(path))


def _check_alike(parts: Sequence[Raster]) -> None:
    first = parts[0]
    if first.dtype not in GDAL_TYPES:
        raise RasterError(f"rasters of type {first.dtype} cannot be laid side by side.")
    for part in parts:
        for what, ours, theirs in (
            ("bands", part.band_count, first.band_count),
            ("pixel type", part.dtype, first.dtype),
            ("nodata", part.nodata, first.nodata),
        ):
            if ours != theirs:
                raise RasterError(
                    f"{part.name} has {what} {ours}, {first.name} has {theirs}: a mosaic needs them alike."
                )
        if not same_crs(part.grid.crs, first.grid.crs):
            raise RasterError(
                f"{part.name} and {first.name} are in different coordinate reference systems: "
                "bring them into one first (rio warp), or run them one by one."
            )
        a, b, _, d, e, _ = part.grid.transform
        if b or d or a < 0 or e > 0:
            raise RasterError(
                f"{part.name} is rotated or runs from south to north: "
                "a mosaic needs north-up rasters (rio warp), or run it by itself."
            )
        ratios = (a / b for a, b in zip(part.grid.cell_size, first.grid.cell_size, strict=True))
        if any(abs(ratio - 1) > CELL_TOLERANCE for ratio in ratios):
            raise RasterError(
                f"{part.name} has cells of {part.grid.cell_size}, {first.name} of {first.grid.cell_size}: "
                "a mosaic needs one cell size (rio warp --res), or run them one by one."
            )


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


def _place(part: Raster, grid: Grid) -> Window:
    west, _, _, north = part.grid.bounds
    col, row = ~grid.affine @ (west, north)
    return Window(round(row), round(col), *part.grid.shape)


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
