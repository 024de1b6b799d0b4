"""Where pixels lie: a coordinate reference system, an affine transform and a size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from affine import Affine
from rasterio.crs import CRS
from rasterio.env import Env
from rasterio.errors import RasterioError
from rasterio.warp import transform, transform_bounds

from rasterloom.models.errors import CrsError, SettingError
from rasterloom.pipeline.rasters.gdal import FAILURES

Bounds = tuple[float, float, float, float]
"""West, south, east, north in the units of a CRS."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels. It may reach beyond the raster it belongs to."""

    row: int
    """First row."""
    col: int
    """First column."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""

    @property
    def row_stop(self) -> int:
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        return self.col + self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices, for arrays that cover the whole raster."""
        return slice(self.row, self.row_stop), slice(self.col, self.col_stop)

    def padded(self, pixels: int) -> "Window":
        """The window grown by ``pixels`` on all four sides."""
        return Window(self.row - pixels, self.col - pixels, self.height + 2 * pixels, self.width + 2 * pixels)

    def clipped(self, shape: tuple[int, int]) -> "Window":
        """The part inside a raster of ``shape`` (height, width); zero-sized when there is none."""
        row, col = min(max(self.row, 0), shape[0]), min(max(self.col, 0), shape[1])
        row_stop, col_stop = min(max(self.row_stop, row), shape[0]), min(max(self.col_stop, col), shape[1])
        return Window(row, col, row_stop - row, col_stop - col)


@dataclass(frozen=True)
class Grid:
    """A georeferenced pixel grid."""

    crs: str
    """Well-known text of the coordinate reference system."""
    transform: tuple[float, float, float, float, float, float]
    """Affine coefficients a, b, c, d, e, f: x = a*col + b*row + c, y = d*col + e*row + f."""
    height: int
    """Rows."""
    width: int
    """Columns."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def affine(self) -> Affine:
        return Affine(*self.transform)

    @property
    def cell_size(self) -> tuple[float, float]:
        """Pixel width and height in units of the CRS, both positive."""
        a, b, _, d, e, _ = self.transform
        return math.hypot(a, d), math.hypot(b, e)

    @property
    def bounds(self) -> Bounds:
        return self.window_bounds(Window(0, 0, self.height, self.width))

    def window_affine(self, window: Window) -> Affine:
        """Transform whose origin is the window's upper-left corner."""
        return self.affine @ Affine.translation(window.col, window.row)

    def window_bounds(self, window: Window) -> Bounds:
        """Bounding box of the window in CRS units, also for rotated grids."""
        corners = [
            self.affine @ (col, row)
            for col in (window.col, window.col_stop)
            for row in (window.row, window.row_stop)
        ]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def window_of(self, bounds: Bounds) -> Window:
        """Smallest window that covers ``bounds`` (CRS units), clipped to the grid.

        A corner within a hundredth of a pixel of a pixel edge counts as lying on it.
        """
        west, south, east, north = bounds
        corners = [~self.affine @ (x, y) for x in (west, east) for y in (south, north)]
        cols, rows = zip(*corners, strict=True)
        row, col = math.floor(min(rows) + 0.01), math.floor(min(cols) + 0.01)
        row_stop, col_stop = math.ceil(max(rows) - 0.01), math.ceil(max(cols) - 0.01)
        return Window(row, col, row_stop - row, col_stop - col).clipped(self.shape)

    def cropped(self, window: Window) -> "Grid":
        """The grid of one window."""
        return replace(
            self,
            transform=tuple(self.window_affine(window))[:6],
            height=window.height,
            width=window.width,
        )

    def regridded(self, *, cell_size: tuple[float, float] | None = None, crs: str | None = None) -> "Grid":
        """A north-up grid over the same ground with another cell size or CRS.

        Parameters
        ----------
        cell_size
            Pixel width and height in units of the new CRS, both above 0. None keeps the ground
            resolution: the pixel count along the diagonal stays what it is.
        crs
            Anything rasterio reads: an authority code, WKT or PROJ text. None keeps the CRS.

        Raises
        ------
        SettingError
            If the cell size is not above 0, or one cell is larger than the raster.
        CrsError
            If the CRS is unknown or the grid cannot be projected into it.
        """
        target = read_crs(crs).to_wkt() if crs is not None else self.crs
        if same_crs(target, self.crs):
            target, bounds = self.crs, self.bounds
        else:
            bounds = project_bounds(self.bounds, self.crs, target)
        west, south, east, north = bounds
        if cell_size is None and target == self.crs:
            cell_size = self.cell_size
        if cell_size is None:
            side = math.hypot(east - west, north - south) / math.hypot(self.height, self.width)
            cell_size = (side, side)
        if not all(math.isfinite(side) and side > 0 for side in cell_size):
            raise SettingError(f"cell size {cell_size} cannot work: give two numbers above 0.")
        width, height = round((east - west) / cell_size[0]), round((north - south) / cell_size[1])
        if width == 0 or height == 0:
            raise SettingError(
                f"a cell of {cell_size} is larger than the raster, which is {east - west:g} x "
                f"{north - south:g} units of its CRS: give a smaller one, in the same units."
            )
        return Grid(target, (cell_size[0], 0.0, west, 0.0, -cell_size[1], north), height, width)


def read_crs(text: object) -> CRS:
    """A CRS from an authority code, WKT, PROJ text, EPSG number or ``{"wkid": number}``.

    Raises
    ------
    CrsError
        If it is none of these, or nobody knows the code.
    """
    given = text
    if isinstance(text, Mapping):
        text = next((text[key] for key in ("latestWkid", "wkid", "wkt") if text.get(key)), text)
    try:
        with Env():  # outside of it GDAL writes what it thinks of the text to the terminal
            return CRS.from_user_input(text)
    except (RasterioError, ValueError, TypeError) as error:
        raise CrsError(f"{given!r} is not a coordinate reference system: give 'EPSG:32633', say.") from error


def same_crs(first: str, second: str) -> bool:
    """Whether two CRS descriptions mean the same system."""
    return first == second or bool(CRS.from_user_input(first) == CRS.from_user_input(second))


def same_value(first: float | None, second: float | None) -> bool:
    """Whether two nodata values are the same; not-a-number is the same as itself."""
    if first is None or second is None:
        return first is second
    return first == second or (math.isnan(first) and math.isnan(second))


@lru_cache(maxsize=64)  # asked for every window that is read
def whole_shift(native: Grid, grid: Grid) -> tuple[int, int] | None:
    """Rows and columns that ``grid`` begins after ``native`` where their cells are the same; else None.

    Cells are the same where none of the grid lies further than a hundredth of a pixel from the native one.
    """
    if native.crs != grid.crs:
        return None
    corners = [(col, row) for col in (0, grid.width) for row in (0, grid.height)]
    moves = []
    for col, row in corners:
        x, y = ~native.affine @ (grid.affine @ (col, row))
        moves.append((y - row, x - col))
    down, across = round(moves[0][0]), round(moves[0][1])
    if all(abs(y - down) < 0.01 and abs(x - across) < 0.01 for y, x in moves):
        return down, across
    return None


def project_bounds(bounds: Bounds, source: str, target: str) -> Bounds:
    """The box in ``target`` that holds a box given in ``source`` (both CRS texts).

    Raises
    ------
    CrsError
        If the box lies where the target cannot reach.
    """
    try:
        with Env():
            box = transform_bounds(source, target, *bounds, densify_pts=101)
    except FAILURES as error:
        raise CrsError(f"{bounds} cannot be brought into {_crs_name(target)}: {error}.") from error
    if not all(math.isfinite(value) for value in box):
        raise CrsError(f"{bounds} lies where {_crs_name(target)} cannot reach: choose another CRS.")
    west, south, east, north = box
    if west > east:
        raise CrsError(f"{bounds} crosses the antimeridian of {_crs_name(target)}: choose another CRS.")
    return west, south, east, north


def pixels_per_cell(source: Grid, target: Grid) -> tuple[float, float]:
    """How many pixels of ``source`` one cell of ``target`` spans along its row and its column.

    Measured at the middle of the target, so the answer is the same for every window of it. NaN where the
    target lies out of the reach of the source's CRS.
    """
    row, col = target.height / 2, target.width / 2
    xs, ys = zip(
        *(target.affine @ place for place in ((col, row), (col + 1, row), (col, row + 1))), strict=True
    )
    if source.crs != target.crs:
        try:
            with Env():
                xs, ys = transform(target.crs, source.crs, xs, ys)
        except FAILURES:
            return math.nan, math.nan
    (x0, y0), *ends = (~source.affine @ place for place in zip(xs, ys, strict=True))
    across, down = (math.hypot(x - x0, y - y0) for x, y in ends)
    return across, down


def _crs_name(text: str) -> str:
    crs = CRS.from_user_input(text)
    return str(crs.to_string()) if crs.to_epsg() else text.split('"')[1] if '"' in text else text


def reflect_indices(start: int, stop: int, size: int) -> Sequence[int]:
    """Indices ``start..stop`` of an axis of ``size`` pixels, mirrored at its ends without repeating the edge.

    The same rule as ``numpy.pad(mode="reflect")``, for any distance beyond the ends.
    """
    if size == 1:
        return [0] * (stop - start)
    period = 2 * (size - 1)
    folded = (index % period for index in range(start, stop))
    return [index if index < size else period - index for index in folded]
