"""The ``context`` argument: on which grid and which part of a raster a tool works."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rasterloom.models.errors import CrsError, SettingError
from rasterloom.pipeline.rasters.grid import Bounds, Grid, Window, project_bounds, read_crs, same_crs
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window

_DRIFT = 0.05
"""Pixels that cells may drift apart over a whole raster and still count as being of one size."""


def parse_context(context: Mapping[str, Any] | None, *, allowed: frozenset[str]) -> dict[str, Any]:
    """The context as a dictionary that holds only keys the tool honours.

    Raises
    ------
    SettingError
        If it is no dictionary, or a key is unknown. The message lists the known ones.
    """
    known = ", ".join(sorted(allowed))
    if context is not None and not isinstance(context, Mapping):
        raise SettingError(f"context={context!r} cannot be read: give a dictionary with keys of {known}.")
    given = dict(context or {})
    unknown = [key for key in given if key not in allowed]
    if unknown:
        raise SettingError(f"context has no key {unknown[0]!r}: known are {known}.")
    return given


def target_grid(raster: Raster, context: Mapping[str, Any]) -> Raster:
    """The raster read on the grid that ``cellSize`` and ``outSR`` ask for; without them, its own.

    Parameters
    ----------
    raster
        The source.
    context
        ``cellSize``: a number or ``{"x": .., "y": ..}`` in units of the target CRS. ``outSR``: anything
        that :func:`rasterloom.pipeline.rasters.grid.read_crs` takes.

    Raises
    ------
    SettingError
        If the cell size is not a number above 0, or larger than the raster.
    CrsError
        If ``outSR`` cannot be read.
    """
    cell, crs = context.get("cellSize"), context.get("outSR")
    if cell is None and crs is None:
        return raster
    target = read_crs(crs).to_wkt() if crs is not None else None
    return raster.on_grid(raster.native.regridded(cell_size=_cell_size(cell), crs=target))


def snap_grid(raster: Raster, snap: Any, context: Mapping[str, Any], *, step: int) -> tuple[Raster, Window]:
    """The raster read on a grid whose chips coincide with those of every other raster snapped alike.

    The grid's cells continue those of the snap raster where ``cellSize`` is that raster's own. Its origin
    lies a whole number of ``step`` cells from the snap raster's, to the west and north of the raster by less
    than one step, and the grid covers the raster. Where that moves the raster's own cells by whole pixels,
    they are read as they are.

    Parameters
    ----------
    raster
        The source.
    snap
        What :func:`rasterloom.pipeline.rasters.open.describe` takes. Only its grid matters.
    context
        ``cellSize`` and ``outSR`` as in :func:`target_grid`.
    step
        Cells between the origins of two neighbouring chips, above 0.

    Returns
    -------
    (Raster, Window)
        The raster on its new grid, and the part of the grid that the raster covers: what lies outside of it
        is not valid.

    Raises
    ------
    SettingError
        If the snap raster is rotated, or ``step`` or the cell size cannot work.
    CrsError
        If the snap raster is in another CRS than the one that is worked in.
    """
    if step < 1:
        raise SettingError(f"step={step} cannot work: use a positive number of cells.")
    lattice = describe(snap)
    wanted = _north_up(target_grid(raster, context).grid)
    _check_snap(lattice, wanted)
    cell = _snapped_cell(wanted, lattice.native)
    west, south, east, north = wanted.bounds
    left, top = lattice.native.bounds[0], lattice.native.bounds[3]
    # in cells from the snap raster's corner; a hundredth of a cell beyond an edge counts as on it
    first = (math.floor((top - north) / cell[1] + 0.01), math.floor((west - left) / cell[0] + 0.01))
    stop = (math.ceil((top - south) / cell[1] - 0.01), math.ceil((east - left) / cell[0] - 0.01))
    row, col = (value // step * step for value in first)
    origin = (left + col * cell[0], top - row * cell[1])
    grid = Grid(wanted.crs, (cell[0], 0.0, origin[0], 0.0, -cell[1], origin[1]), stop[0] - row, stop[1] - col)
    covered = Window(first[0] - row, first[1] - col, stop[0] - first[0], stop[1] - first[1])
    return raster.on_grid(grid), covered


def mask_on(mask: Any, grid: Grid) -> Raster:
    """A raster mask, read on ``grid`` by the nearest pixel. It may be smaller, or in another CRS.

    Parameters
    ----------
    mask
        What :func:`rasterloom.pipeline.rasters.open.describe` takes.

    Raises
    ------
    MissingInputError, RasterError, CrsError
        If it is no raster.
    """
    return describe(mask).on_grid(grid, resampling="nearest")


def mask_window(mask: Raster, window: Window) -> np.ndarray:
    """Where a raster mask lets pixels through: its first band is valid and not 0.

    Parameters
    ----------
    mask
        On the grid of the window, from :func:`mask_on`.
    window
        Rows and columns, inside the grid.

    Returns
    -------
    ndarray of bool, (row, column)
        False outside of the mask's raster.
    """
    pixels, valid = read_window(mask, window, [0])
    return (pixels[0] != 0) & valid


def extent_window(raster: Raster, context: Mapping[str, Any]) -> Window:
    """The part of the raster inside ``extent``; all of it where there is none.

    Parameters
    ----------
    raster
        On the grid it will be read on.
    context
        ``extent``: (west, south, east, north) in the raster's CRS, or a dictionary with ``xmin``, ``ymin``,
        ``xmax``, ``ymax`` and, where it is in another CRS, ``spatialReference``.

    Raises
    ------
    SettingError
        If the extent cannot be read or does not meet the raster.
    CrsError
        If its spatial reference cannot be read or does not reach the raster's CRS.
    """
    extent = context.get("extent")
    if extent is None:
        return Window(0, 0, *raster.grid.shape)
    bounds = extent_bounds(extent, raster.grid.crs)
    window = raster.grid.window_of(bounds)
    if window.height == 0 or window.width == 0:
        raise SettingError(
            f"the extent {bounds} does not meet {raster.name}, which covers {raster.grid.bounds}."
        )
    return window


def extent_bounds(extent: Any, crs: str) -> Bounds:
    """The box that an extent means, in ``crs`` (WKT).

    Parameters
    ----------
    extent
        As in :func:`extent_window`.

    Raises
    ------
    SettingError, CrsError
        As there.
    """
    try:
        if isinstance(extent, Mapping):
            west, south, east, north = (float(extent[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
        else:
            west, south, east, north = (float(value) for value in extent)
    except (TypeError, ValueError, KeyError) as error:
        raise SettingError(
            f"extent={extent!r} cannot be read: give (west, south, east, north) in the raster's CRS."
        ) from error
    if not all(math.isfinite(value) for value in (west, south, east, north)):
        raise SettingError(f"extent={extent!r} cannot be read: give four finite numbers.")
    if not (west < east and south < north):
        raise SettingError(f"extent={extent!r} is empty: west must lie west of east, south below north.")
    if isinstance(extent, Mapping) and extent.get("spatialReference") is not None:
        source = read_crs(extent["spatialReference"]).to_wkt()
        return project_bounds((west, south, east, north), source, crs)
    return west, south, east, north


def _north_up(grid: Grid) -> Grid:
    a, b, _, d, e, _ = grid.transform
    return grid.regridded() if b or d or a < 0 or e > 0 else grid


def _check_snap(lattice: Raster, wanted: Grid) -> None:
    if not same_crs(lattice.native.crs, wanted.crs):
        raise CrsError(
            f"the snap raster {lattice.name} is in another coordinate reference system than the one that is "
            "worked in: choose another snap raster, or set outSR to its CRS."
        )
    _, b, _, d, _, _ = lattice.native.transform
    if b or d:
        raise SettingError(f"the snap raster {lattice.name} is rotated: use a north-up one.")


def _snapped_cell(wanted: Grid, lattice: Grid) -> tuple[float, float]:
    """The cell size that is wanted, exactly the snap raster's where it hardly differs from it."""
    width, height = (
        theirs if abs(ours / theirs - 1) * length < _DRIFT else ours
        for ours, theirs, length in zip(
            wanted.cell_size, lattice.cell_size, (wanted.width, wanted.height), strict=True
        )
    )
    return width, height


def _cell_size(cell: Any) -> tuple[float, float] | None:
    if cell is None:
        return None
    try:
        x, y = (
            (float(cell["x"]), float(cell["y"])) if isinstance(cell, Mapping) else (float(cell), float(cell))
        )
    except (TypeError, ValueError, KeyError) as error:
        raise SettingError(
            f'cellSize={cell!r} cannot work: give a number, or {{"x": 0.5, "y": 0.5}}.'
        ) from error
    if not all(math.isfinite(side) and side > 0 for side in (x, y)):
        raise SettingError(f"cellSize={cell!r} cannot work: give a size above 0.")
    return x, y
