"""Prepared features on disk, so that each task reads only those near its own chips."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
import shapely

from rasterloom.models.contract import ClassInfo, classes_from_json
from rasterloom.models.errors import LabelError, OutputError
from rasterloom.pipeline.labels.features import Labels, Layer, layer_name
from rasterloom.pipeline.labels.ordering import Sorter
from rasterloom.pipeline.rasters.grid import Bounds, Grid

ROW_GROUP = 4096
"""Most features that are read or passed over together."""

GROUP_BYTES = 32 << 20
"""Most bytes of their geometries, unless it is a single one."""

_CLASSES = b"rasterloom.classes"
_SIDES = ("west", "south", "east", "north")
_SCHEMA = pyarrow.schema(
    [
        ("position", pyarrow.int64()),
        ("value", pyarrow.int32()),
        *((side, pyarrow.float64()) for side in _SIDES),
        ("geometry", pyarrow.binary()),
    ]
)
_SORTED = pyarrow.schema([("key", pyarrow.float64()), *_SCHEMA])
"""Rows on their way: from north to south they ascend in ``key`` and, where it is the same, in position."""


@dataclass(frozen=True)
class Prepared:
    """A layer that was prepared for one raster. It travels to workers by its path."""

    path: str
    """The file that :func:`read_prepared` reads."""
    classes: tuple[ClassInfo, ...]
    """All classes of the layer, in ascending value."""
    count: int
    """Features on the raster."""
    digest: str
    """SHA-256 of features and classes; the same however the layer was read."""
    bounds: Bounds
    """Of all features, in the raster's CRS."""
    flat: int
    """How many of the features are points or lines, which have no area."""


def prepare_features(
    source: Any,
    path: str | Path,
    *,
    grid: Grid,
    class_field: str | None = None,
    buffer_radius: float | None = None,
    negative: bool = False,
) -> Prepared:
    """Write the features that lie on a raster, from north to south, for tasks to read what they need.

    They are in the raster's CRS, repaired where invalid, and without Z. The layer passes through memory in
    blocks, so that its size does not matter.

    Parameters
    ----------
    source
        Path of a vector file, or a GeoDataFrame.
    path
        Parquet file that is written, or replaced.
    grid
        The raster's grid.
    class_field
        Field that holds the class; see :func:`rasterloom.pipeline.labels.classes.class_table`.
    buffer_radius
        Points become discs of this radius and lines bands to both sides, in units of the layer's CRS;
        polygons stay as they are. None leaves points and lines too.
    negative
        Whether class values may be any whole numbers of 32 bits. Masks need 0 to 65,535.

    Raises
    ------
    MissingInputError
        If the file is not there.
    SettingError
        If the radius is not above 0.
    CrsError
        If the layer has no CRS, or cannot be projected into the raster's.
    LabelError
        If the file is no vector layer, the class field is absent or holds no classes, or no feature lies on
        the raster.
    OutputError
        If the file cannot be written.
    """
    layer = Layer.of(
        source, grid=grid, class_field=class_field, buffer_radius=buffer_radius, negative=negative
    )
    path = Path(path)
    try:
        with Sorter(("key", "position"), path.parent) as sorter:
            flat = 0
            for positions, geometries, values in layer.blocks():
                flat += int((shapely.get_dimensions(geometries) < 2).sum())
                sorter.add(_table(positions, geometries, values))
            written = _write(sorter.blocks(), layer.table.classes, path)
        if not written.count:
            path.unlink()
    except (pyarrow.ArrowException, OSError) as error:
        raise _unwritable(path, error) from error
    if not written.count:
        raise LabelError(layer.nothing_there())
    return Prepared(str(path), layer.table.classes, written.count, written.digest, written.bounds, flat)


def write_prepared(labels: Labels, path: Path) -> None:
    """Write features so that :func:`read_prepared` finds those in a rectangle without reading the rest.

    Rows run from north to south, because tasks own strips of chips: a strip then lies in few row groups.
    """
    table = _table(labels.positions, labels.geometries, labels.values)
    order = np.lexsort((table["position"].to_numpy(), table["key"].to_numpy()))
    _write([table.take(order)], labels.classes, path)


def check_areas(prepared: Prepared, source: Any = None) -> None:
    """Refuse points and lines where objects need an area.

    Parameters
    ----------
    source
        What was prepared, for the message.

    Raises
    ------
    LabelError
        If a feature has no area.
    """
    if prepared.flat:
        raise LabelError(
            f"{prepared.flat} features of {layer_name(source)} are points or lines, which have no area: give "
            "buffer_radius, in units of the layer's CRS, to make discs and bands of them."
        )


def read_prepared(path: str | Path, bounds: Bounds) -> Labels:
    """The prepared features whose bounding box meets ``bounds`` (CRS units), in file order."""
    west, south, east, north = bounds
    footer = _footer(path)
    most, least = footer.sides[:, 2:], footer.sides[:, :2]  # (row group, 2)
    met = (least[:, 0] <= east) & (most[:, 0] >= west) & (least[:, 1] <= north) & (most[:, 1] >= south)
    rows = _rows(path, np.flatnonzero(met).tolist())
    sides = [rows[side].to_numpy() for side in _SIDES]
    near = (sides[0] <= east) & (sides[2] >= west) & (sides[1] <= north) & (sides[3] >= south)
    found = np.flatnonzero(near)
    found = found[np.argsort(rows["position"].to_numpy()[found])]
    return _labels(rows.take(found), footer.classes)


def iter_prepared(path: str | Path) -> Iterator[Labels]:
    """All prepared features, from north to south; in each block they are in file order."""
    footer = _footer(path)
    for group in range(len(footer.sides)):
        rows = _rows(path, [group])
        yield _labels(rows.take(np.argsort(rows["position"].to_numpy())), footer.classes)


def _table(positions: np.ndarray, geometries: np.ndarray, values: np.ndarray) -> Any:
    sides = shapely.bounds(geometries)  # (feature, west south east north)
    columns = [
        -(sides[:, 1] + sides[:, 3]),
        positions,
        values,
        *(np.ascontiguousarray(side) for side in sides.T),
        shapely.to_wkb(geometries, byte_order=1),
    ]
    arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, _SORTED, strict=True)]
    return pyarrow.table(arrays, schema=_SORTED)


@dataclass(frozen=True)
class _Written:
    count: int
    digest: str
    bounds: Bounds


def _write(tables: Iterable[Any], classes: tuple[ClassInfo, ...], path: Path) -> _Written:
    """Write sorted rows in row groups of their own size, whatever size they come in."""
    schema = _SCHEMA.with_metadata({_CLASSES: json.dumps([asdict(c) for c in classes]).encode()})
    partial = path.with_name(f".{path.name}.partial")
    digest = hashlib.sha256(repr(classes).encode())
    count = 0
    west, south, east, north = np.inf, np.inf, -np.inf, -np.inf
    with pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        for group in _groups(tables):
            rows = group.select(_SCHEMA.names).replace_schema_metadata(schema.metadata)
            writer.write_table(rows, row_group_size=ROW_GROUP)
            for name in ("position", "value"):
                digest.update(rows[name].to_numpy().tobytes())
            for geometry in rows["geometry"].to_numpy():
                digest.update(geometry)
            count += rows.num_rows
            sides = [rows[side].to_numpy() for side in _SIDES]
            west, south = min(west, sides[0].min()), min(south, sides[1].min())
            east, north = max(east, sides[2].max()), max(north, sides[3].max())
    partial.replace(path)
    return _Written(count, digest.hexdigest(), (float(west), float(south), float(east), float(north)))


def _groups(tables: Iterable[Any]) -> Iterator[Any]:
    waiting: list[Any] = []
    rows = size = 0
    for table in tables:
        while table.num_rows:
            sizes = np.cumsum(pyarrow.compute.binary_length(table["geometry"]).to_numpy())
            room = int(np.searchsorted(sizes, GROUP_BYTES - size, side="right"))
            count = min(ROW_GROUP - rows, max(room, 1 - rows))
            part, table = table.slice(0, count), table.slice(max(count, 0))
            if count > 0:
                waiting.append(part)
                rows, size = rows + count, size + int(sizes[count - 1])
            if table.num_rows:  # it did not fit
                yield pyarrow.concat_tables(waiting).combine_chunks()
                waiting, rows, size = [], 0, 0
    if rows:
        yield pyarrow.concat_tables(waiting).combine_chunks()


def _unwritable(path: Path, error: Exception) -> OutputError:
    return OutputError(f"{path} cannot be written: {error}. Make room for the labels there.")


@dataclass(frozen=True, eq=False)
class _Footer:
    """What is known of a prepared file without reading rows."""

    metadata: Any
    sides: np.ndarray
    """(row group, west south east north)"""
    classes: tuple[ClassInfo, ...]


def _footer(path: str | Path) -> _Footer:
    known = Path(path).stat()
    return _parsed_footer(str(path), known.st_mtime_ns, known.st_size, known.st_ino)


@lru_cache(maxsize=8)  # each task asks for the same file again
def _parsed_footer(path: str, *state: int) -> _Footer:
    metadata = pyarrow.parquet.read_metadata(path)
    first = _SCHEMA.get_field_index("west")
    sides = np.empty((metadata.num_row_groups, 4))
    for group in range(metadata.num_row_groups):
        for side in range(4):
            statistics = metadata.row_group(group).column(first + side).statistics
            sides[group, side] = statistics.min if side < 2 else statistics.max
    plain = json.loads(metadata.schema.to_arrow_schema().metadata[_CLASSES])
    return _Footer(metadata, sides, classes_from_json(plain))


def _rows(path: str | Path, groups: list[int]) -> Any:
    # tasks run side by side already: Arrow's own threads would only compete
    with pyarrow.parquet.ParquetFile(path, metadata=_footer(path).metadata) as file:
        return file.read_row_groups(groups, use_threads=False)


def _labels(rows: Any, classes: tuple[ClassInfo, ...]) -> Labels:
    geometries = np.asarray(shapely.from_wkb(rows["geometry"].to_numpy()), object)
    values = rows["value"].to_numpy().astype(np.int64)
    return Labels(geometries, values, classes, rows["position"].to_numpy())
