"""Read vector layers: only the fields and the features that are needed."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow
import pyarrow.parquet
import pyogrio
from pyogrio.errors import DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from rasterloom.models.errors import LabelError, MissingInputError
from rasterloom.pipeline.labels.classes import NAME_FIELDS, find_class_field
from rasterloom.pipeline.rasters.grid import Bounds, Grid

PARQUET = (".parquet", ".geoparquet", ".pq")


def layer_crs(source: Any) -> Any:
    """The CRS of a layer (pyproj), or None where it has none.

    Raises
    ------
    MissingInputError
        If the file is not there.
    LabelError
        If it is no vector layer.
    """
    if isinstance(source, geopandas.GeoDataFrame):
        return source.crs if source.active_geometry_name is not None else None
    path = _existing(source)
    if _is_parquet(path):
        column = _geo(path)["columns"][_geo(path)["primary_column"]]
        # GeoParquet: a missing key means longitude and latitude, null means unknown
        text = column.get("crs", "OGC:CRS84")
        return None if text is None else CRS.from_user_input(text)
    text = _info(path)["crs"]
    try:
        return None if text is None else CRS.from_user_input(text)
    except CRSError:
        return None


def layer_attributes(source: Any, field: str | None) -> Any:
    """A frame with the class field, and the fields that may name the classes, of all features."""
    if isinstance(source, geopandas.GeoDataFrame):
        return source.drop(columns=source.active_geometry_name)
    path = _existing(source)
    fields = _fields(path)
    found = find_class_field(fields, field)
    wanted = [name for name in fields if name == found or name.lower() in NAME_FIELDS]
    if _is_parquet(path):
        return pyarrow.parquet.read_table(path, columns=wanted).to_pandas()
    return pyogrio.read_dataframe(path, columns=wanted, read_geometry=False)


def layer_features(source: Any, *, grid: Grid, crs: Any, field: str | None) -> Any:
    """A GeoDataFrame of the features near the grid with their class field, in file order.

    Files that know where their features lie (GeoParquet with a bounding box column, and everything
    that GDAL filters) are read only there.
    """
    if isinstance(source, geopandas.GeoDataFrame):
        return source
    path = _existing(source)
    near = _near(grid, crs)
    columns = [] if field is None else [field]
    if not _is_parquet(path):
        found = pyogrio.read_dataframe(path, columns=columns, bbox=near, fid_as_index=True)
        # a spatial index answers in its own order (seen with GeoPackage)
        return found.sort_index()
    geometry = _geo(path)["primary_column"]
    covered = "covering" in _geo(path)["columns"][geometry]
    return geopandas.read_parquet(path, columns=[*columns, geometry], bbox=near if covered else None)


def _near(grid: Grid, crs: Any) -> Bounds | None:
    """Bounds of the grid in a layer's CRS, a little wider; None where they cannot be found."""
    try:
        bounds = transform_bounds(grid.crs, crs.to_wkt(), *grid.bounds, densify_pts=101)
    except (RasterioError, ValueError):
        return None
    west, south, east, north = bounds
    # a box that crosses the antimeridian, or one with a pole in it, is no box
    if not np.isfinite(bounds).all() or west > east or (crs.is_geographic and east - west > 180):
        return None
    # edges bulge between the densified points
    spare = 0.01 * max(east - west, north - south)
    return west - spare, south - spare, east + spare, north + spare


def _existing(source: Any) -> Path:
    path = Path(source)
    if not path.exists():
        raise MissingInputError(f"{path} is not there: give the path of a vector file, or a GeoDataFrame.")
    return path


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET


def _fields(path: Path) -> list[str]:
    if _is_parquet(path):
        names = list(pyarrow.parquet.read_schema(path).names)
        geometry = set(_geo(path)["columns"])
        return [name for name in names if name not in geometry and name != "bbox"]
    return [str(name) for name in _info(path)["fields"]]


def _geo(path: Path) -> dict[str, Any]:
    try:
        # of the file, not of its Arrow schema: not every writer copies it there
        metadata = pyarrow.parquet.read_metadata(path).metadata or {}
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise LabelError(f"{path} cannot be read as GeoParquet: {error}") from error
    if b"geo" not in metadata:
        raise LabelError(f"{path} is Parquet without geometry: write it with GeoDataFrame.to_parquet.")
    return json.loads(metadata[b"geo"])


def _info(path: Path) -> dict[str, Any]:
    try:
        return pyogrio.read_info(path)
    except DataSourceError as error:
        raise LabelError(
            f"{path} is not a vector layer: give a GeoPackage, GeoParquet, GeoJSON or Shapefile "
            f"with features. {error}"
        ) from error
