"""Features of a label layer, brought onto a raster's ground."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import CrsError, LabelError
from rasterloom.pipeline.labels.classes import class_table
from rasterloom.pipeline.labels.layers import layer_attributes, layer_crs, layer_features
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
    crs = layer_crs(source)
    if crs is None:
        raise CrsError(
            f"{layer_name(source)} has no coordinate reference system: set it, with "
            "GeoDataFrame.set_crs('EPSG:...') or ogr2ogr -a_srs, so that it can be laid on the raster."
        )
    table = class_table(layer_attributes(source, class_field), class_field)
    features = layer_features(source, grid=grid, crs=crs, field=table.field)
    values = table.values_of(features)
    geometries = _on_grid(features, grid)
    kept = np.flatnonzero(_meets(geometries, grid))
    if len(kept) == 0:
        raise LabelError(_no_overlap(layer_name(source), geometries, grid))
    return Labels(geometries[kept], values[kept], table.classes)


def read_outline(source: Any, *, grid: Grid) -> Any:
    """The union of a layer's polygons in the raster's CRS, as one shapely geometry.

    Raises
    ------
    CrsError
        If the layer has no CRS.
    LabelError
        If it has no polygons.
    """
    crs = layer_crs(source)
    if crs is None:
        raise CrsError(f"{layer_name(source)} has no coordinate reference system: set it.")
    geometries = _on_grid(layer_features(source, grid=grid, crs=crs, field=None), grid)
    polygons = [g for g in geometries if g is not None and shapely.get_dimensions(g) == 2]
    if not polygons:
        raise LabelError(f"{layer_name(source)} has no polygons on the raster, which covers {grid.bounds}.")
    return shapely.union_all(polygons)


def layer_name(source: Any) -> str:
    """What messages call a layer."""
    return Path(source).name if isinstance(source, str | Path) else "the label layer"


def _on_grid(features: Any, grid: Grid) -> np.ndarray:
    target = read_crs(grid.crs)
    if len(features) and not same_crs(features.crs.to_wkt(), grid.crs):
        try:
            features = features.to_crs(target.to_wkt())
        except (RuntimeError, ValueError) as error:
            raise CrsError(f"the labels cannot be projected into the raster's CRS: {error}") from error
    geometries = shapely.force_2d(np.asarray(features.geometry.array, dtype=object))
    return _repaired(geometries)


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


def _no_overlap(name: str, geometries: np.ndarray, grid: Grid) -> str:
    present = geometries[~shapely.is_missing(geometries)]
    extent = tuple(round(float(v), 3) for v in shapely.total_bounds(present)) if len(present) else "nothing"
    ground = tuple(round(v, 3) for v in grid.bounds)
    return (
        f"no feature of {name} lies on the raster: in the raster's CRS the features cover {extent} "
        f"(west, south, east, north) and the raster {ground}. Give labels of the same place, "
        "or check the layer's CRS."
    )
