"""One vector file from blocks of features in any order: sorted, whole or not there, at flat memory."""

import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from rasterloom.cluster.places import Place
from rasterloom.cluster.scratch import scratch_folder
from rasterloom.models.errors import OutputError, RasterloomError, SettingError
from rasterloom.pipeline.outputs.cog import check_free
from rasterloom.pipeline.outputs.features_files import SUFFIXES, FeatureLayer, write_layer
from rasterloom.pipeline.outputs.features_order import in_order, kinds_of
from rasterloom.pipeline.rasters.grid import Bounds

OID = "OID"
"""Name of the column that numbers the features, from 1."""

_TYPES = {"text": "string"}
"""Our own names of column types; all others are Arrow's."""

_RESERVED = ("geometry", "wkb", "place", "xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, eq=False)
class FeatureBlock:
    """Some features of a layer."""

    geometry: np.ndarray
    """(n,) of shapely geometries; None where there is none."""
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(n,) values of each attribute; None in an array of objects where there is none."""

    def __len__(self) -> int:
        return len(self.geometry)


def write_features(
    path: str | Path,
    blocks: Iterable[FeatureBlock],
    *,
    fields: Mapping[str, Any],
    crs: Any,
    geometry: str = "Polygon",
    bounds: Bounds | None = None,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
    scratch: str | Path | None = None,
    oid: str | None = OID,
) -> int:
    """Write features along a Hilbert curve; the final name appears when all is whole.

    The file depends on which features there are, not on how they come in blocks or in which order. Memory
    does not grow with their number: what does not fit is sorted through files in ``scratch``, which take
    about as much room as the features themselves. Without features, it is an empty layer with all columns.

    Parameters
    ----------
    path
        Path or URL. The suffix is the format: .parquet, .geoparquet or .pq (GeoParquet 1.1 with a bounding
        box column), .gpkg, .fgb, .geojson or .json, .shp.
    blocks
        The features, a few hundred to some hundred thousand in each block.
    fields
        Name and type of each attribute, in the order of the file: "int32", "int64", "float64", "text",
        "bool" or another name of an Arrow type, or a pyarrow type.
    crs
        Of the geometries: "EPSG:32633", WKT, or what pyproj knows; None where nobody knows it.
    geometry
        Kind that formats with one kind of geometry declare where there are no features: "Polygon", "Point",
        .. Else they declare what the features are, or "Unknown" for a mix.
    bounds
        Box around the features, over which the curve is laid. The same box gives the same order. None
        takes the features' own, which costs another pass through ``scratch``.
    overwrite
        Replace a file that is there.
    metadata
        Names and texts for the file itself, where the format has a place for them (GeoParquet, GeoPackage).
    scratch
        Folder for temporary files. None takes the worker's own, or the system's.
    oid
        Name of a first column that numbers the features from 1 in the order of the file. None for none.

    Returns
    -------
    int
        Features written.

    Raises
    ------
    OutputExistsError
        If something stands there and ``overwrite`` is false.
    OutputError
        If it cannot be written. What stood there stays as it was.
    SettingError
        If the suffix is unknown, or blocks and fields do not belong together.

    References
    ----------
    GeoParquet 1.1.0, "bbox covering".
    """
    check_output(path, overwrite=overwrite)
    place, name = Place.of(path).parent, Place.of(path).name
    layer = FeatureLayer(Path(name), _schema(fields, oid), crs, geometry, oid, dict(metadata or {}))
    layer.check()
    room = None if scratch is None else str(scratch)
    with tempfile.TemporaryDirectory(prefix="rasterloom-", dir=room or scratch_folder()) as folder:
        kinds: set[int] = set()
        batches = (_batch(block, layer.schema, oid, kinds) for block in blocks)
        with _bench(place, name, Path(folder)) as file:
            try:
                count = write_layer(layer, in_order(batches, bounds, Path(folder)), file, kinds)
                _put_in_place(file, place, name)
            except RasterloomError:
                raise
            except OSError as error:
                raise OutputError(f"{place}/{name} could not be written: {error}.") from error
    return count


def check_output(path: str | Path, *, overwrite: bool = False) -> None:
    """Make sure that a vector file may be written there, before any work is done.

    Raises
    ------
    OutputExistsError
        If something stands there and ``overwrite`` is false.
    OutputError
        If the folder, or the place in an object store, cannot be made or written to.
    SettingError
        If the address names no file, or its suffix is no format that is written.
    """
    suffix = Path(Place.of(path).name).suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingError(
            f"{path} ends in {suffix or 'no suffix'}, which is no vector format that is written: use one of "
            f"{', '.join(SUFFIXES)}."
        )
    check_free(path, overwrite=overwrite, suffix=".parquet")


def _schema(fields: Mapping[str, Any], oid: str | None) -> Any:
    """The attributes as Arrow's fields, the number first."""
    taken = [name for name in fields if name in _RESERVED or name == oid]
    if taken:
        raise SettingError(
            f"the fields {taken} have names that the file needs for itself: give them others"
            + (f", or pass oid=None to keep your own {oid}." if oid in taken else ".")
        )
    columns = [] if oid is None else [(oid, pyarrow.int64())]
    return pyarrow.schema([*columns, *((name, _type(name, kind)) for name, kind in fields.items())])


def _type(name: str, kind: Any) -> Any:
    if isinstance(kind, pyarrow.DataType):
        return kind
    try:
        return pyarrow.type_for_alias(_TYPES.get(kind, kind))
    except (ValueError, TypeError) as error:
        raise SettingError(
            f"fields[{name!r}]={kind!r} is no type of a column: use int32, int64, float64, text, bool or "
            "another name of an Arrow type."
        ) from error


def _batch(block: FeatureBlock, schema: Any, oid: str | None, kinds: set[int]) -> Any:
    """The attributes of a block as Arrow, beside its geometries, whose kinds are noted."""
    wanted = [name for name in schema.names if name != oid]
    if set(block.columns) != set(wanted):
        raise SettingError(
            f"a block has the columns {sorted(block.columns)} and the fields are {sorted(wanted)}: give each "
            "block one array for every field."
        )
    arrays = [_array(name, block.columns[name], schema.field(name).type, len(block)) for name in wanted]
    geometries = np.asarray(block.geometry, object)
    kinds.update(np.unique(kinds_of(geometries)).tolist())
    return geometries, pyarrow.RecordBatch.from_arrays(arrays, names=wanted)


def _array(name: str, values: Any, kind: Any, rows: int) -> Any:
    if len(values) != rows:
        raise SettingError(f"column {name!r} of a block has {len(values)} values for {rows} geometries.")
    try:
        return pyarrow.array(values, type=kind)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise SettingError(f"column {name!r} of a block does not fit its type {kind}: {error}.") from error


@contextmanager
def _bench(place: Place, name: str, scratch: Path) -> Iterator[Path]:
    """A file of the final name to write, in a folder of its own that goes away."""
    if not place.is_local:
        yield scratch / name
        return
    folder = place.path / f".{name}.{uuid.uuid4().hex}.part"
    folder.mkdir(parents=True)
    try:
        yield folder / name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(file: Path, place: Place, name: str) -> None:
    """Give the file its final name, after what stands beside it."""
    beside = [each for each in file.parent.glob(f"{_literal(file.stem)}.*") if each != file]
    for each in [*sorted(beside), file]:
        if place.is_local:
            each.replace(place.path / each.name)
        else:
            place.upload(each.name, each)


def _literal(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)
