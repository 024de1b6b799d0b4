"""Features of a label layer, brought onto a raster's ground."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import CrsError, LabelError, SettingError
from rasterloom.pipeline.labels.blocks import attribute_blocks, feature_blocks
from rasterloom.pipeline.labels.classes import ClassTable, class_table_of, find_class_field
from rasterloom.pipeline.labels.layers import class_fields, layer_crs, layer_fields, near_grid
from rasterloom.pipeline.rasters.grid import Bounds, Grid, read_crs, same_crs


@dataclass(frozen=True, eq=False)
class Labels:
    """Features with their class values, in the CRS of a raster."""

    geometries: np.ndarray
    """Shapely geometries, valid and not empty, in file order."""
    values: np.ndarray
    """Class value of each feature, int64."""
    classes: tuple[ClassInfo, ...]
    """All classes of the layer, in ascending value, also those without a feature here."""
    positions: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """Position of each feature in its layer, int64, ascending. Left out, they are counted from 0."""

    def __post_init__(self) -> None:
        if len(self.positions) != len(self.geometries):
            object.__setattr__(self, "positions", np.arange(len(self.geometries), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.geometries)

    def __getstate__(self) -> dict[str, Any]:
        # the tree is cheap to build and costs more than the features to send
        return {key: value for key, value in self.__dict__.items() if key != "tree"}

    @cached_property
    def tree(self) -> shapely.STRtree:
        """Spatial index over the features, built at first use."""
        return shapely.STRtree(self.geometries)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of geometries, values and classes."""
        total = hashlib.sha256(repr(self.classes).encode())
        total.update(np.ascontiguousarray(self.values).tobytes())
        for start in range(0, len(self), 65_536):
            for wkb in shapely.to_wkb(self.geometries[start : start + 65_536], byte_order=1):
                total.update(wkb)
        return total.hexdigest()

    def touching(self, bounds: Bounds) -> np.ndarray:
        """Positions of the features whose bounding box meets ``bounds``, in file order."""
        return np.sort(self.tree.query(shapely.box(*bounds)))


def read_features(source: Any, *, grid: Grid, class_field: str | None = None) -> Labels:
    """Read the features that lie on a raster.

    They are in the raster's CRS, repaired where invalid, without Z, and in file order. The classes are
    those of the whole layer, so that one layer gives the same class values on every raster.

    Parameters
    ----------
    source
        Path of a vector file, or a GeoDataFrame.
    grid
        The raster's grid.
    class_field
        Field that holds the class; see :func:`rasterloom.pipeline.labels.classes.class_table`.

    Raises
    ------
    MissingInputError
        If the file is not there.
    CrsError
        If the layer has no CRS, or cannot be projected into the raster's.
    LabelError
        If the file is no vector layer, the class field is absent, or no feature lies on the raster.
    """
    layer = Layer.of(source, grid=grid, class_field=class_field)
    blocks = list(layer.blocks())
    if not blocks:
        raise LabelError(layer.nothing_there())
    positions, geometries, values = (np.concatenate(column) for column in zip(*blocks, strict=True))
    order = np.argsort(positions, kind="stable")
    return Labels(geometries[order], values[order], layer.table.classes, positions[order])


def read_outline(source: Any, *, grid: Grid) -> Any:
    """The union of a layer's polygons in the raster's CRS, as one shapely geometry.

    Raises
    ------
    CrsError
        If the layer has no CRS.
    LabelError
        If it has no polygons.
    """
    crs = known_crs(source)
    polygons: list[Any] = []
    for _, geometries, _ in feature_blocks(source, near=near_grid(grid, crs)):
        fixed = on_grid(geometries, crs, grid)
        polygons.extend(fixed[shapely.get_dimensions(fixed) == 2])
    if not polygons:
        raise LabelError(f"{layer_name(source)} has no polygons on the raster, which covers {grid.bounds}.")
    return shapely.union_all(polygons)


@dataclass(frozen=True, eq=False)
class Layer:
    """A label layer whose classes are known, to be read onto a raster's ground."""

    source: Any
    grid: Grid
    crs: Any
    """The layer's own."""
    table: ClassTable
    buffer_radius: float | None = None
    """Units of the layer's CRS; points and lines become what lies as near to them. None leaves them."""

    @classmethod
    def of(
        cls,
        source: Any,
        *,
        grid: Grid,
        class_field: str | None = None,
        buffer_radius: float | None = None,
        negative: bool = False,
    ) -> "Layer":
        """Read the classes of a layer.

        Raises
        ------
        SettingError
            If the radius is not above 0.
        """
        if buffer_radius is not None and not 0 < buffer_radius < math.inf:
            raise SettingError(
                f"buffer_radius={buffer_radius} cannot work: give a length above 0, in the units of the "
                "layer's CRS, or None."
            )
        crs = known_crs(source)
        field = find_class_field(layer_fields(source), class_field)
        columns = [] if field is None else class_fields(source, field)
        table = class_table_of(attribute_blocks(source, columns), field, negative=negative)
        return cls(source, grid, crs, table, buffer_radius)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Position in the layer, geometry on the grid and class value of the features that lie on it.

        In blocks that are never empty; the order is the reader's own.
        """
        near = near_grid(self.grid, self.crs)
        if near is not None and self.buffer_radius is not None:
            radius = self.buffer_radius
            near = near[0] - radius, near[1] - radius, near[2] + radius, near[3] + radius
        for positions, geometries, attributes in feature_blocks(
            self.source, near=near, field=self.table.field
        ):
            kept = _close(geometries, near)
            fixed = on_grid(geometries[kept], self.crs, self.grid, buffer_radius=self.buffer_radius)
            met = _meets(fixed, self.grid)
            kept = kept[met]
            if len(kept):
                yield positions[kept], fixed[met], self.table.values_of(attributes.iloc[kept])

    def nothing_there(self) -> str:
        """The message for a layer without a feature on the raster."""
        sides = np.full((1, 4), np.nan)
        for _, geometries, _ in feature_blocks(self.source):
            fixed = on_grid(geometries, self.crs, self.grid)
            block = shapely.total_bounds(fixed[~shapely.is_missing(fixed)])[None]
            sides = np.concatenate([sides, block])
        seen = sides[~np.isnan(sides).any(axis=1)]
        return _no_overlap(layer_name(self.source), seen, self.grid)


def known_crs(source: Any) -> Any:
    """The CRS of a layer, which must have one.

    Raises
    ------
    CrsError
        If the layer has none.
    """
    crs = layer_crs(source)
    if crs is None:
        raise CrsError(
            f"{layer_name(source)} has no coordinate reference system: set it, with "
            "GeoDataFrame.set_crs('EPSG:...') or ogr2ogr -a_srs, so that it can be laid on the raster."
        )
    return crs


def layer_name(source: Any) -> str:
    """What messages call a layer."""
    return Path(source).name if isinstance(source, str | Path) else "the label layer"


def on_grid(
    geometries: np.ndarray, crs: Any, grid: Grid, *, buffer_radius: float | None = None
) -> np.ndarray:
    """Geometries in a grid's CRS, valid and without Z; None for what holds nothing or lies nowhere.

    Raises
    ------
    CrsError
        If they cannot be projected into the grid's CRS.
    """
    flat = shapely.force_2d(geometries)
    if buffer_radius is not None:
        flat = _buffered(flat, buffer_radius)
    if len(flat) and not same_crs(crs.to_wkt(), grid.crs):
        try:
            moved = geopandas.GeoSeries(flat, crs=crs).to_crs(read_crs(grid.crs).to_wkt())
        except (RuntimeError, ValueError) as error:
            raise CrsError(f"the labels cannot be projected into the raster's CRS: {error}") from error
        flat = np.asarray(moved.array, dtype=object)
    return _repaired(flat)


def _buffered(geometries: np.ndarray, radius: float) -> np.ndarray:
    """Discs for points and bands for lines; polygons stay as they are."""
    grown = geometries.copy()
    thin = np.flatnonzero(np.isin(shapely.get_dimensions(geometries), (0, 1)))
    xy, owner = shapely.get_coordinates(geometries[thin], return_index=True)
    nowhere = np.zeros(len(thin), bool)
    nowhere[owner[~np.isfinite(xy).all(axis=1)]] = True
    grown[thin[nowhere]] = None
    thin = thin[~nowhere]
    grown[thin] = shapely.buffer(geometries[thin], radius)
    return grown


def _close(geometries: np.ndarray, near: Bounds | None) -> np.ndarray:
    """Positions of the geometries whose bounding box meets a box in the same CRS."""
    if near is None:
        return np.arange(len(geometries))
    west, south, east, north = shapely.bounds(geometries).T
    return np.flatnonzero((west <= near[2]) & (east >= near[0]) & (south <= near[3]) & (north >= near[1]))


def _repaired(geometries: np.ndarray) -> np.ndarray:
    """Valid geometries of the dimension they came with; None for what holds nothing or lies nowhere."""
    fixed = geometries.copy()
    wrong = np.flatnonzero(~shapely.is_missing(geometries) & ~shapely.is_valid(geometries))
    for position in wrong:
        before = geometries[position]
        if np.isfinite(shapely.get_coordinates(before)).all():
            fixed[position] = _parts_of_dimension(shapely.make_valid(before), shapely.get_dimensions(before))
        else:
            fixed[position] = None
    fixed[shapely.is_empty(fixed)] = None
    return fixed


def _parts_of_dimension(geometry: Any, dimension: int) -> Any:
    if geometry.geom_type != "GeometryCollection":
        return geometry if shapely.get_dimensions(geometry) == dimension else None
    parts = [part for part in geometry.geoms if shapely.get_dimensions(part) == dimension]
    return shapely.union_all(parts) if parts else None


def _meets(geometries: np.ndarray, grid: Grid) -> np.ndarray:
    a, b, c, d, e, f = grid.transform
    edges = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    outline = shapely.Polygon([(a * col + b * row + c, d * col + e * row + f) for col, row in edges])
    shapely.prepare(outline)
    return np.asarray(shapely.intersects(outline, geometries), bool)


def _no_overlap(name: str, sides: np.ndarray, grid: Grid) -> str:
    """``sides`` (k, 4): bounds of the layer's blocks in the grid's CRS."""
    around = (*sides[:, :2].min(axis=0), *sides[:, 2:].max(axis=0)) if len(sides) else ()
    extent = tuple(round(float(side), 3) for side in around) or "nothing"
    ground = tuple(round(v, 3) for v in grid.bounds)
    return (
        f"no feature of {name} lies on the raster: in the raster's CRS the features cover {extent} "
        f"(west, south, east, north) and the raster {ground}. Give labels of the same place, "
        "or check the layer's CRS."
    )
