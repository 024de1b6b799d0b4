"""Read vector layers: only the fields and the features that are needed."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
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
    path = existing(source)
    if is_parquet(path):
        column = geo_metadata(path)["columns"][geo_metadata(path)["primary_column"]]
        # GeoParquet: a missing key means longitude and latitude, null means unknown
        text = column.get("crs", "OGC:CRS84")
        return None if text is None else CRS.from_user_input(text)
    text = layer_info(path)["crs"]
    try:
        return None if text is None else CRS.from_user_input(text)
    except CRSError:
        return None


def class_fields(source: Any, field: str | None) -> list[str]:
    """The class field of a layer, and the fields that may name the classes."""
    fields = layer_fields(source)
    found = find_class_field(fields, field)
    return [name for name in fields if name == found or str(name).lower() in NAME_FIELDS]


def layer_attributes(source: Any, field: str | None) -> Any:
    """A frame with the class field, and the fields that may name the classes, of all features."""
    wanted = class_fields(source, field)
    if isinstance(source, geopandas.GeoDataFrame):
        return pandas.DataFrame(source[wanted])
    path = existing(source)
    if is_parquet(path):
        return pyarrow.parquet.read_table(path, columns=wanted).to_pandas()
    return pyogrio.read_dataframe(path, columns=wanted, read_geometry=False)


def near_grid(grid: Grid, crs: Any) -> Bounds | None:
    """Bounds of a grid in a layer's CRS, a little wider; None where they cannot be found."""
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


def existing(source: Any) -> Path:
    """The path of a file that is there."""
    path = Path(source)
    if not path.exists():
        raise MissingInputError(f"{path} is not there: give the path of a vector file, or a GeoDataFrame.")
    return path


def is_parquet(path: Path) -> bool:
    """Whether a path names a Parquet file."""
    return path.suffix.lower() in PARQUET


def layer_fields(source: Any) -> list[str]:
    """Names of a layer's attributes."""
    if isinstance(source, geopandas.GeoDataFrame):
        return [name for name in source.columns if name != source.active_geometry_name]
    path = existing(source)
    if is_parquet(path):
        names = list(pyarrow.parquet.read_schema(path).names)
        geometry = set(geo_metadata(path)["columns"])
        return [name for name in names if name not in geometry and name != "bbox"]
    return [str(name) for name in layer_info(path)["fields"]]


def geo_metadata(path: Path) -> dict[str, Any]:
    """What a GeoParquet file says about its geometry columns."""
    try:
        # of the file, not of its Arrow schema: not every writer copies it there
        metadata = pyarrow.parquet.read_metadata(path).metadata or {}
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise LabelError(f"{path} cannot be read as GeoParquet: {error}") from error
    if b"geo" not in metadata:
        raise LabelError(f"{path} is Parquet without geometry: write it with GeoDataFrame.to_parquet.")
    return json.loads(metadata[b"geo"])


def layer_info(path: Path) -> dict[str, Any]:
    """What GDAL says about a vector layer."""
    try:
        return pyogrio.read_info(path)
    except DataSourceError as error:
        raise LabelError(
            f"{path} is not a vector layer: give a GeoPackage, GeoParquet, GeoJSON or Shapefile "
            f"with features. {error}"
        ) from error
