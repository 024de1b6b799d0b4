"""Labels of features put into their layer: new fields of a vector file, or columns of a GeoDataFrame."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import pandas
import pyogrio

from rasterloom.models.errors import LabelError, MissingInputError, OutputError, SettingError

_PARQUET = (".parquet", ".geoparquet", ".pq")
_DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".fgb": "FlatGeobuf"}


@contextmanager
def changing(layer: Any) -> Iterator[Any]:
    """A layer as a GeoDataFrame; what is changed in it is in the layer afterwards, or nothing where it fails.

    Parameters
    ----------
    layer
        A GeoDataFrame, or the path of a GeoParquet, GeoPackage, GeoJSON or FlatGeobuf file.

    Raises
    ------
    MissingInputError
        If the file is not there.
    LabelError, SettingError
        If it is none of these, or holds several layers.
    OutputError
        If it cannot be written.
    """
    if isinstance(layer, geopandas.GeoDataFrame):
        yield layer
        return
    if not isinstance(layer, str | Path):
        raise SettingError(
            f"{type(layer).__name__} is no feature layer: give the path of a vector file, or a GeoDataFrame."
        )
    path = Path(layer).expanduser()
    frame = _read(path)
    yield frame
    _replace(frame, path)


def put_fields(frame: Any, fields: Mapping[str, Sequence[Any]], *, overwrite: bool) -> None:
    """Write fields into a GeoDataFrame.

    Raises
    ------
    SettingError
        If it has fields of these names and ``overwrite`` is false.
    """
    there = [name for name in fields if name in frame.columns]
    if there and not overwrite:
        raise SettingError(
            f"the features have {', '.join(there)} already: use overwrite=True, or other names of fields."
        )
    for name, values in fields.items():
        frame[name] = pandas.array(list(values), dtype=_kind(values))


def _kind(values: Sequence[Any]) -> Any:
    """Type of a column, in which None may stand too."""
    known = {type(value) for value in values if value is not None}
    return {frozenset({int}): "Int64", frozenset({float}): "float64"}.get(frozenset(known), object)


def _read(path: Path) -> Any:
    ending = path.suffix.lower()
    if ending not in (*_PARQUET, *_DRIVERS):
        known = ", ".join((*_PARQUET, *_DRIVERS))
        raise SettingError(
            f"{path.name} is no vector file that gets new fields: give one of {known}, or a GeoDataFrame."
        )
    if not path.is_file():
        raise MissingInputError(f"there is no file {path}.")
    try:
        if ending in _PARQUET:
            return geopandas.read_parquet(path)
        layers = pyogrio.list_layers(path)[:, 0]
        if len(layers) != 1:
            raise LabelError(
                f"{path.name} holds {len(layers)} layers ({', '.join(layers)}), and would be written with "
                "one: give a file of one layer, or a GeoDataFrame."
            )
        return geopandas.read_file(path)
    except (pyogrio.errors.DataSourceError, ValueError) as error:
        if isinstance(error, LabelError):
            raise
        raise LabelError(f"{path} cannot be read as a vector layer: {error}") from error


def _replace(frame: Any, path: Path) -> None:
    """Write beside the file, then put it in its place: what stands there is whole."""
    ending = path.suffix.lower()
    fresh = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        if ending in _PARQUET:
            frame.to_parquet(fresh, write_covering_bbox=True)
        else:
            frame.to_file(fresh, driver=_DRIVERS[ending], layer=path.stem, engine="pyogrio")
        fresh.replace(path)
    except (OSError, pyogrio.errors.DataSourceError) as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)
