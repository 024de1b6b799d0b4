"""Read the features of a vector layer in blocks, with every attribute in the type that the file gives it."""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow
import pyarrow.parquet
import pyogrio
import shapely

from rasterloom.cluster.places import Place
from rasterloom.cluster.scratch import scratch_folder
from rasterloom.models.errors import MissingInputError, SettingError
from rasterloom.pipeline.labels.blocks import record_blocks
from rasterloom.pipeline.labels.layers import (
    geo_metadata,
    is_parquet,
    layer_crs,
    layer_fields,
    layer_info,
)
from rasterloom.pipeline.outputs.features import FeatureBlock
from rasterloom.pipeline.rasters.grid import Bounds


@dataclass(frozen=True, eq=False)
class FeatureSource:
    """A vector layer that can be read again and again."""

    source: Any
    """A local path, or a GeoDataFrame."""
    name: str
    """For messages."""
    fields: Mapping[str, Any]
    """Arrow type of each attribute, as :func:`rasterloom.pipeline.outputs.features.write_features` takes."""
    crs: str | None
    """WKT; None where the layer has none."""
    keeps: Any = None
    """What has to live as long as the source: the folder of a fetched file."""

    @classmethod
    def of(cls, source: Any) -> "FeatureSource":
        """Open a layer.

        Parameters
        ----------
        source
            Path or URL of a GeoParquet, GeoPackage, FlatGeobuf, GeoJSON or Shapefile, or what else GDAL
            reads, or a GeoDataFrame. What is behind a URL is fetched into the scratch folder first.

        Raises
        ------
        MissingInputError
            If the file is not there.
        LabelError
            If it is no vector layer.
        SettingError
            If it is nothing of these.
        """
        if isinstance(source, FeatureSource):
            return source
        if isinstance(source, geopandas.GeoDataFrame):
            name, keeps = "the GeoDataFrame", None
            source = _with_geometry(source)
        elif isinstance(source, str | Path):
            name = Place.of(source).name
            source, keeps = _local(str(source))
        else:
            raise SettingError(
                f"{type(source).__name__} is no vector layer: give the path or URL of a file, or a "
                "GeoDataFrame."
            )
        crs = layer_crs(source)
        return cls(source, name, _fields(source), None if crs is None else crs.to_wkt(), keeps)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[FeatureBlock]:
        """The features in file order, some thousand at a time.

        Parameters
        ----------
        columns
            Attributes to read; None for all.

        Raises
        ------
        SettingError
            If the layer has no such attribute.
        LabelError
            If it cannot be read to its end.
        """
        wanted = list(self.fields) if columns is None else list(columns)
        unknown = [name for name in wanted if name not in self.fields]
        if unknown:
            raise SettingError(f"{self.name} has no field {unknown}: it has {list(self.fields)}.")
        for geometries, table in record_blocks(self.source, wanted):
            yield FeatureBlock(geometries, {name: _values(table[name]) for name in wanted})

    def bounds(self) -> Bounds | None:
        """The box around all features, from the file's own word where it gives one; None without features.

        Raises
        ------
        LabelError
            If the layer cannot be read.
        """
        told = _told_bounds(self.source)
        if told is not None:
            return told
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for block in self.blocks([]):
            sides = shapely.bounds(block.geometry)
            sides = sides[~np.isnan(sides).any(axis=1)]
            if len(sides):
                low = np.minimum(low, sides[:, :2].min(axis=0))
                high = np.maximum(high, sides[:, 2:].max(axis=0))
        if not np.isfinite(low).all():
            return None
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def feature_blocks(source: Any, columns: Sequence[str] | None = None) -> Iterator[FeatureBlock]:
    """The features of a layer in file order; see :class:`FeatureSource`."""
    yield from FeatureSource.of(source).blocks(columns)


def _with_geometry(frame: Any) -> Any:
    if frame.active_geometry_name is None:
        raise SettingError("the GeoDataFrame has no geometry: choose its column with set_geometry.")
    others = [name for name, kind in frame.dtypes.items() if str(kind) == "geometry"]
    return frame.drop(columns=[name for name in others if name != frame.active_geometry_name])


def _local(source: str) -> tuple[str, Any]:
    """A path on this machine of what a path or URL names, and what to keep for it."""
    place = Place.of(source)
    if place.is_local:
        return place.url, None
    import fsspec

    fetched = _Fetched()
    path = Path(fetched.folder) / place.name
    try:
        files, remote = fsspec.url_to_fs(place.url, use_listings_cache=False)
        files.get_file(remote, str(path))
    except FileNotFoundError as error:
        raise MissingInputError(f"{place} is not there: give the address of a vector file.") from error
    return str(path), fetched


class _Fetched:
    """A folder that goes away with this."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="rasterloom-", dir=scratch_folder())
        weakref.finalize(self, shutil.rmtree, self.folder, True)


def _fields(source: Any) -> dict[str, Any]:
    names = [str(name) for name in layer_fields(source)]
    if not names:  # of a GeoJSON without features nobody knows
        return {}
    if isinstance(source, geopandas.GeoDataFrame):
        schema = pyarrow.Schema.from_pandas(source[names], preserve_index=False)
    elif is_parquet(Path(source)):
        schema = pyarrow.parquet.read_schema(source)
    else:
        with pyogrio.open_arrow(source, columns=names, read_geometry=False, use_pyarrow=True) as (_, reader):
            schema = reader.schema
    return {name: _plain(schema.field(name).type) for name in names}


def _plain(kind: Any) -> Any:
    """The type itself where a dictionary holds the values, and what a column without values can be."""
    if pyarrow.types.is_dictionary(kind):
        return kind.value_type
    return pyarrow.string() if pyarrow.types.is_null(kind) else kind


def _values(column: Any) -> np.ndarray:
    """The values as numpy's; objects with None where one is missing."""
    if column.null_count or pyarrow.types.is_nested(column.type):
        values = np.empty(len(column), object)
        values[:] = column.to_pylist()
        return values
    return column.to_numpy()


def _told_bounds(source: Any) -> Bounds | None:
    if isinstance(source, geopandas.GeoDataFrame):
        return None
    if is_parquet(Path(source)):
        geo = geo_metadata(Path(source))
        told = geo["columns"][geo["primary_column"]].get("bbox")
    else:
        info = layer_info(Path(source))
        told = info["total_bounds"] if info["features"] else None  # an empty Shapefile says 0, 0, 0, 0
    if told is None or len(told) != 4 or not np.isfinite(told).all():
        return None
    west, south, east, north = (float(side) for side in told)
    return west, south, east, north
