"""Write sorted features into a file of each format."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FieldError, GeometryError
from pyproj import CRS
from pyproj.exceptions import CRSError

from rasterloom.models.errors import CrsError, OutputError, SettingError
from rasterloom.pipeline.outputs.features_order import SIDES, WKB

ROW_GROUP = 50_000
"""Features of a row group of GeoParquet."""

GEOMETRY = "geometry"
"""Name of the geometry column."""

_PARQUET = (".parquet", ".geoparquet", ".pq")

_GDAL_ROWS = 16_384
"""Features that GDAL is handed at once."""

_DRIVERS = {
    ".gpkg": "GPKG",
    ".fgb": "FlatGeobuf",
    ".geojson": "GeoJSON",
    ".json": "GeoJSON",
    ".shp": "ESRI Shapefile",
}

SUFFIXES = (*_PARQUET, *_DRIVERS)
"""Endings of the formats that are written."""

_SIDES = ("xmin", "ymin", "xmax", "ymax")

_KINDS = (
    "Point",
    "LineString",
    "LinearRing",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
)
"""Shapely's types by their numbers."""


@dataclass(frozen=True, eq=False)
class FeatureLayer:
    """What a vector file is, except its features."""

    name: Path
    """File name; its suffix is the format."""
    schema: Any
    """Arrow's schema of the attributes, the number first."""
    crs: Any
    geometry: str
    """Kind of geometry that an empty layer declares."""
    oid: str | None
    """Name of the number, None for none."""
    metadata: Mapping[str, str]

    @property
    def suffix(self) -> str:
        return self.name.suffix.lower()

    def check(self) -> None:
        """Make sure that the format can hold it.

        Raises
        ------
        SettingError
            If it cannot.
        CrsError
            If the CRS is none.
        """
        self.system()
        names: list[str] = self.schema.names
        long = [name for name in names if len(name.encode()) > 10]
        if self.suffix == ".shp" and long:
            raise SettingError(
                f"the fields {long} have names of more than 10 bytes, which a Shapefile cuts: write .gpkg or "
                ".parquet, or give shorter names."
            )
        # databases know no upper and lower case
        folded = [name.lower() for name in names]
        twice = sorted({name for name in names if folded.count(name.lower()) > 1})
        if self.suffix in (".gpkg", ".shp") and twice:
            raise SettingError(f"the fields {twice} differ in case only, which {self.suffix} cannot tell.")

    def system(self) -> Any:
        """The CRS as pyproj's; None where there is none.

        Raises
        ------
        CrsError
            If it is none.
        """
        if self.crs is None:
            return None
        try:
            return CRS.from_user_input(self.crs)
        except CRSError as error:
            raise CrsError(f"crs={self.crs!r} is not a coordinate reference system: {error}.") from error


def write_layer(layer: FeatureLayer, tables: Iterator[Any], file: Path, kinds: Set[int]) -> int:
    """Write a layer into ``file``, which is not there yet.

    Parameters
    ----------
    tables
        What :func:`rasterloom.pipeline.outputs.features_order.in_order` gives.
    kinds
        Those of all geometries, by the numbers of ``kinds_of``; known once the first table is there.

    Returns
    -------
    int
        Features written.

    Raises
    ------
    OutputError
        If the format does not take them, or the disk is full.
    """
    first = next(tables, None)
    numbered = _Numbered(layer, tables if first is None else chain([first], tables))
    found = sorted(_kind_name(kind) for kind in kinds if kind >= 0)
    try:
        if layer.suffix in _PARQUET:
            _write_parquet(layer, numbered, file, found)
        else:
            _write_gdal(layer, numbered, file, _declared(layer, found))
    except (pyarrow.ArrowException, DataSourceError, DataLayerError, FieldError, GeometryError) as error:
        raise OutputError(f"{layer.name} could not be written: {error}.") from error
    return numbered.count


class _Numbered:
    """Tables with the number of each feature, counted on the way."""

    def __init__(self, layer: FeatureLayer, tables: Iterable[Any]) -> None:
        self._layer, self._tables = layer, tables
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for table in self._tables:
            first, self.count = self.count + 1, self.count + len(table)
            if self._layer.oid is not None:
                numbers = pyarrow.array(np.arange(first, self.count + 1, dtype=np.int64))
                table = table.add_column(0, self._layer.oid, numbers)
            yield table


def _declared(layer: FeatureLayer, found: list[str]) -> str:
    """The kind of geometry that the layer says it has."""
    if not found:
        return layer.geometry
    if layer.suffix == ".shp":  # its polygons may have several parts
        return found[0].removeprefix("Multi")
    return found[0] if len(found) == 1 else "Unknown"


def _write_parquet(layer: FeatureLayer, tables: Iterable[Any], file: Path, kinds: list[str]) -> None:
    cover = _free_name("bbox", layer.schema.names)
    box = pyarrow.struct([(side, pyarrow.float64()) for side in _SIDES])
    schema = pyarrow.schema([*layer.schema, (GEOMETRY, pyarrow.binary()), (cover, box)])
    texts = [each.name for each in layer.schema if pyarrow.types.is_string(each.type)]
    told = [each.name for each in layer.schema if not pyarrow.types.is_nested(each.type)]
    told += [f"{cover}.{each.name}" for each in box]
    extent = _Extent()
    with pyarrow.parquet.ParquetWriter(
        file, schema, compression="zstd", use_dictionary=texts, write_statistics=told
    ) as writer:
        for table in _gathered(tables, ROW_GROUP):
            extent.add(table)
            writer.write_table(_covered(table, schema, box), row_group_size=ROW_GROUP)
        geo = _geo(layer, kinds, extent, cover)
        writer.add_key_value_metadata({**layer.metadata, "geo": json.dumps(geo)})


def _free_name(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _gathered(tables: Iterable[Any], rows: int) -> Iterator[Any]:
    """The same rows in tables of ``rows``, the last shorter."""
    held: list[Any] = []
    count = 0
    for table in tables:
        held.append(table)
        count += len(table)
        if count >= rows:
            whole = pyarrow.concat_tables(held)
            full = count - count % rows
            yield from (whole.slice(start, rows) for start in range(0, full, rows))
            held, count = [whole.slice(full)], count - full
    if count:
        yield pyarrow.concat_tables(held)


def _covered(table: Any, schema: Any, box: Any) -> Any:
    """The columns of the file: attributes, geometry, bounding box."""
    table = table.combine_chunks()
    sides = [table[name].chunk(0) for name in SIDES]
    missing = np.isnan(sides[0].to_numpy())
    mask = pyarrow.array(missing) if missing.any() else None
    cover = pyarrow.StructArray.from_arrays(sides, fields=list(box), mask=mask)
    columns = [table[name] for name in schema.names[:-2]]
    return pyarrow.table([*columns, table[WKB], cover], schema=schema)


class _Extent:
    """The box around what was added."""

    def __init__(self) -> None:
        self.low, self.high = np.full(2, np.inf), np.full(2, -np.inf)

    def add(self, table: Any) -> None:
        sides = np.stack([table[name].to_numpy() for name in SIDES], axis=1)
        sides = sides[~np.isnan(sides).any(axis=1)]
        if len(sides):
            self.low = np.minimum(self.low, sides[:, :2].min(axis=0))
            self.high = np.maximum(self.high, sides[:, 2:].max(axis=0))


def _geo(layer: FeatureLayer, kinds: list[str], extent: _Extent, cover: str) -> dict[str, Any]:
    """GeoParquet's description of the file."""
    system = layer.system()
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": kinds,
        "crs": None if system is None else system.to_json_dict(),
        "covering": {"bbox": {side: [cover, side] for side in _SIDES}},
    }
    if np.isfinite(extent.low).all():
        column["bbox"] = [*extent.low.tolist(), *extent.high.tolist()]
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _kind_name(kind: int) -> str:
    dimensions = {0: "", 1: " Z", 2: " M", 3: " ZM"}[kind >> 3]
    return _KINDS[kind & 7] + dimensions


def _write_gdal(layer: FeatureLayer, tables: Iterable[Any], file: Path, kind: str) -> None:
    schema = pyarrow.schema([*(_plainer(layer, each) for each in layer.schema), (GEOMETRY, pyarrow.binary())])
    system = layer.system()
    settings: dict[str, Any] = {}
    if layer.suffix == ".gpkg" and layer.metadata:
        settings["layer_metadata"] = dict(layer.metadata)
    with warnings.catch_warnings():
        # an unknown CRS is what the caller said
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            pyarrow.RecordBatchReader.from_batches(schema, _batches(tables, schema)),
            file,
            layer=layer.name.stem,
            driver=_DRIVERS[layer.suffix],
            geometry_name=GEOMETRY,
            geometry_type=kind,
            crs=None if system is None else system.to_wkt(),
            encoding="UTF-8" if layer.suffix == ".shp" else None,
            **settings,
        )


def _plainer(layer: FeatureLayer, column: Any) -> Any:
    """The type that the format has for a column."""
    if layer.suffix == ".shp" and pyarrow.types.is_boolean(column.type):
        return column.with_type(pyarrow.int32())
    return column


def _batches(tables: Iterable[Any], schema: Any) -> Iterator[Any]:
    for table in tables:
        plain = pyarrow.table([table[name] for name in (*schema.names[:-1], WKB)], names=schema.names)
        yield from plain.cast(schema).to_batches(max_chunksize=_GDAL_ROWS)
