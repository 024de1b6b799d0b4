"""The ``context`` argument: on which grid and which part of a raster a tool works."""

import math
from collections.abc import Mapping
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Bounds, Window, project_bounds, read_crs
from rasterloom.pipeline.rasters.raster import Raster


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
    bounds = _bounds(extent, raster.grid.crs)
    window = raster.grid.window_of(bounds)
    if window.height == 0 or window.width == 0:
        raise SettingError(
            f"the extent {bounds} does not meet {raster.name}, which covers {raster.grid.bounds}."
        )
    return window


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


def _bounds(extent: Any, crs: str) -> Bounds:
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
