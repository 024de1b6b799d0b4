"""Two rasters of the same ground on one grid."""

from dataclasses import replace

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Grid, Window, project_bounds, same_crs
from rasterloom.pipeline.rasters.raster import Raster


def laid_on(raster: Raster, grid: Grid, resampling: str) -> Raster:
    """The raster read on ``grid``; where only the words for its CRS differ, its pixels as they are.

    Raises
    ------
    SettingError
        If there is no such resampling.
    """
    if raster.native.crs != grid.crs and same_crs(raster.native.crs, grid.crs):
        native = replace(raster.native, crs=grid.crs)
        raster = replace(raster, native=native, grid=native if raster.grid == raster.native else raster.grid)
    return raster.on_grid(grid, resampling=resampling)


def footprint(raster: Raster, grid: Grid) -> Window:
    """The cells of ``grid`` that the raster may cover; of no size where it covers none.

    Raises
    ------
    CrsError
        If the raster lies where the grid's CRS cannot reach.
    """
    native, bounds = raster.native, raster.native.bounds
    if not same_crs(native.crs, grid.crs):
        bounds = project_bounds(bounds, native.crs, grid.crs)
    return grid.window_of(bounds)


def common_part(before: Raster, after: Raster, extent: Window) -> Window:
    """The part of ``extent`` that both rasters cover.

    Parameters
    ----------
    before, after
        On one grid.
    extent
        Rows and columns of that grid.

    Raises
    ------
    SettingError
        If there is none.
    CrsError
        If the one lies where the CRS of the other cannot reach.
    """
    first, second = footprint(before, before.grid), footprint(after, before.grid)
    both = _meet(first, second)
    if both.height == 0 or both.width == 0:
        raise SettingError(
            f"{before.name} and {after.name} do not overlap, so nothing can be compared: the first covers "
            f"{before.native.bounds}, the second {after.native.bounds}, each in its own CRS. Give rasters of "
            "the same ground."
        )
    found = _meet(extent, both)
    if found.height == 0 or found.width == 0:
        bounds = before.grid.window_bounds(both)
        raise SettingError(
            f"the extent {before.grid.window_bounds(extent)} does not meet what {before.name} and "
            f"{after.name} share, which is {bounds}: give one that does."
        )
    return found


def _meet(one: Window, other: Window) -> Window:
    row, col = max(one.row, other.row), max(one.col, other.col)
    row_stop, col_stop = min(one.row_stop, other.row_stop), min(one.col_stop, other.col_stop)
    return Window(row, col, max(0, row_stop - row), max(0, col_stop - col))
