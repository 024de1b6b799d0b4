"""Read vector layers a few thousand features at a time, so that memory does not follow the layer's size."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pyogrio
import shapely
from pyogrio.errors import DataSourceError

from rasterloom.models.errors import LabelError
from rasterloom.pipeline.labels.layers import existing, geo_metadata, is_parquet, layer_fields, layer_info
from rasterloom.pipeline.rasters.grid import Bounds

BLOCK = 4096
"""Features that are read at once."""

Block = tuple[np.ndarray, np.ndarray, Any]
"""Positions in the layer (int64, counted from 0), shapely geometries, and a frame of the attributes."""

_CURVED = ("Curve", "Circular", "Compound", "Surface")


def attribute_blocks(source: Any, columns: list[str]) -> Iterator[Any]:
    """Frames of some attributes of all features, in file order.

    Raises
    ------
    LabelError
        If the layer cannot be read.
    """
    if isinstance(source, geopandas.GeoDataFrame):
        frame = pandas.DataFrame(source[columns])
        yield from (frame.iloc[start : start + BLOCK] for start in range(0, len(frame), BLOCK))
        return
    path = existing(source)
    if is_parquet(path):
        with _parquet(path) as file:
            for batch in file.iter_batches(BLOCK, columns=columns, use_threads=False):
                yield batch.to_pandas()
        return
    with _arrow(path, columns=columns, read_geometry=False) as (_, reader):
        for batch in reader:
            yield batch.to_pandas()


def feature_blocks(source: Any, *, near: Bounds | None = None, field: str | None = None) -> Iterator[Block]:
    """Features with one attribute, in blocks.

    Parameters
    ----------
    near
        Box in the layer's CRS: features far from it may be left out, and are not read where the file knows
        where its features lie (GeoParquet with a bounding box column, layers with a spatial index).
        Blocks are in file order without it; with it the order is the index's own.
    field
        Attribute that the frames hold. None gives frames without columns.

    Raises
    ------
    LabelError
        If the layer cannot be read.
    """
    columns = [] if field is None else [field]
    if isinstance(source, geopandas.GeoDataFrame):
        yield from _of_frame(source, columns)
        return
    path = existing(source)
    if is_parquet(path):
        yield from _of_parquet(path, columns, near)
        return
    info = layer_info(path)
    if _has_curves(path):
        # GDAL makes straight lines of curves only when it hands out single features
        frame = pyogrio.read_dataframe(path, columns=columns, fid_as_index=True)
        yield from _of_frame(frame, columns)
    elif near is not None and info["capabilities"]["fast_spatial_filter"]:
        yield from _of_index(path, columns, near)
    else:
        yield from _of_file(path, columns)


def record_blocks(source: Any, columns: list[str]) -> Iterator[tuple[np.ndarray, Any]]:
    """Geometries (shapely) and a table (Arrow) of some attributes, in blocks and in file order.

    Attributes keep the types of the file.

    Raises
    ------
    LabelError
        If the layer cannot be read.
    """
    if isinstance(source, geopandas.GeoDataFrame):
        for _, geometries, attributes in _of_frame(source, columns):
            yield geometries, pyarrow.Table.from_pandas(attributes, preserve_index=False)
        return
    path = existing(source)
    if is_parquet(path):
        geo = geo_metadata(path)
        name = geo["primary_column"]
        with _parquet(path) as file:
            for batch in file.iter_batches(BLOCK, columns=[*columns, name], use_threads=False):
                table = pyarrow.Table.from_batches([batch]).select(columns)
                yield _decoded(path, batch, name, geo), table
    elif _has_curves(path):
        frame = pyogrio.read_dataframe(path, columns=columns)
        yield from record_blocks(frame, columns)
    else:
        with _arrow(path, columns=columns) as (_, reader):
            for batch in reader:
                geometries = _from_wkb(path, batch.column(batch.num_columns - 1))
                yield geometries, pyarrow.Table.from_batches([batch]).select(columns)


def _has_curves(path: Path) -> bool:
    return any(word in str(layer_info(path)["geometry_type"]) for word in _CURVED)


def _of_frame(frame: Any, columns: list[str]) -> Iterator[Block]:
    geometries = np.asarray(frame.geometry.array, dtype=object)
    attributes = pandas.DataFrame(frame[columns])
    for start in range(0, len(frame), BLOCK):
        stop = min(start + BLOCK, len(frame))
        yield np.arange(start, stop), geometries[start:stop], attributes.iloc[start:stop]


def _of_file(path: Path, columns: list[str]) -> Iterator[Block]:
    start = 0
    with _arrow(path, columns=columns) as (_, reader):
        for batch in reader:
            yield np.arange(start, start + batch.num_rows), *_parts(path, batch, columns)
            start += batch.num_rows


def _of_index(path: Path, columns: list[str], near: Bounds) -> Iterator[Block]:
    """Positions come from the identifiers: an index answers in its own order (seen with GeoPackage)."""
    with _arrow(path, columns=[], read_geometry=False, return_fids=True) as (_, reader):
        known = [np.asarray(batch.column(0)).astype(np.int64) for batch in reader]
    every = np.sort(np.concatenate([np.zeros(0, np.int64), *known]))
    del known
    with _arrow(path, columns=columns, bbox=near, return_fids=True) as (_, reader):
        for batch in reader:
            found = np.asarray(batch.column(0)).astype(np.int64)
            yield np.searchsorted(every, found), *_parts(path, batch, columns)


def _parts(path: Path, batch: Any, columns: list[str]) -> tuple[np.ndarray, Any]:
    # GDAL's geometry column is the last, whatever its name
    geometry = batch.column(batch.num_columns - 1)
    attributes = batch.select(columns).to_pandas() if columns else _empty(batch.num_rows)
    return _from_wkb(path, geometry), attributes


def _empty(rows: int) -> Any:
    return pandas.DataFrame(index=range(rows))


def _of_parquet(path: Path, columns: list[str], near: Bounds | None) -> Iterator[Block]:
    geo = geo_metadata(path)
    name = geo["primary_column"]
    about = geo["columns"][name]
    start = 0
    with _parquet(path) as file:
        for group in range(file.num_row_groups):
            about_group = file.metadata.row_group(group)
            if near is not None and _is_far(about_group, about.get("covering"), near):
                start += about_group.num_rows
                continue
            wanted = [*columns, name]
            for batch in file.iter_batches(BLOCK, row_groups=[group], columns=wanted, use_threads=False):
                geometries = _decoded(path, batch, name, geo)
                attributes = batch.select(columns).to_pandas() if columns else _empty(batch.num_rows)
                yield np.arange(start, start + batch.num_rows), geometries, attributes
                start += batch.num_rows


def _is_far(group: Any, covering: Any, near: Bounds) -> bool:
    """Whether the statistics of a row group say that none of its features meets a box."""
    if not covering:
        return False
    paths = {".".join(path): side for side, path in covering["bbox"].items()}
    least, most = {}, {}
    for index in range(group.num_columns):
        column = group.column(index)
        statistics = column.statistics if column.path_in_schema in paths else None
        if statistics is not None and statistics.has_min_max:
            side = paths[column.path_in_schema]
            least[side], most[side] = statistics.min, statistics.max
    west, south, east, north = near
    return (
        least.get("xmin", west) > east
        or most.get("xmax", east) < west
        or least.get("ymin", south) > north
        or most.get("ymax", north) < south
    )


def _decoded(path: Path, batch: Any, name: str, geo: dict[str, Any]) -> np.ndarray:
    about = geo["columns"][name]
    if about["encoding"] == "WKB":
        return _from_wkb(path, batch.column(batch.num_columns - 1))
    # GeoParquet 1.1's other encodings: geopandas knows them all, and reads them from memory as from a file
    kept = {key: value for key, value in about.items() if key != "covering"}
    text = json.dumps({**geo, "columns": {name: kept}})
    table = pyarrow.table({name: batch.column(batch.num_columns - 1)})
    memory = io.BytesIO()
    with pyarrow.parquet.ParquetWriter(memory, table.schema.with_metadata({b"geo": text})) as writer:
        writer.write_table(table.replace_schema_metadata({b"geo": text}))
    memory.seek(0)
    return np.asarray(geopandas.read_parquet(memory).geometry.array, dtype=object)


def _from_wkb(path: Path, column: Any) -> np.ndarray:
    try:
        return np.asarray(shapely.from_wkb(column.to_numpy(zero_copy_only=False)), object)
    except shapely.errors.GEOSException as error:
        raise LabelError(f"{path} holds a geometry that cannot be decoded: {error}") from error


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    try:
        # a stream: else a row group's column is read whole, and many writers make one row group of it all
        with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise LabelError(f"{path} cannot be read as GeoParquet: {error}") from error


@contextmanager
def _arrow(path: Path, **settings: Any) -> Iterator[Any]:
    layer_fields(path)  # names what is no layer
    try:
        with pyogrio.open_arrow(path, batch_size=BLOCK, use_pyarrow=True, **settings) as stream:
            yield stream
    except (DataSourceError, pyarrow.ArrowException, OSError) as error:
        raise LabelError(f"{path} cannot be read to its end: {error}") from error
