"""Bring features into one order, whatever order they came in, through files where memory is too small."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.ipc
import shapely

from rasterloom.pipeline.outputs.hilbert import hilbert_places
from rasterloom.pipeline.rasters.grid import Bounds

RUN_BYTES = 64 << 20
"""Size at which a run is sorted and put on disk."""

SLICE = 8192
"""Most rows that are read back from a run at once."""

_FRAME = "rasterloom:"
"""Before the names of our own columns, so that they are no one else's."""

WKB = f"{_FRAME}wkb"
SIDES = tuple(f"{_FRAME}{side}" for side in ("xmin", "ymin", "xmax", "ymax"))
PLACE = f"{_FRAME}place"

Rows = tuple[np.ndarray, Any]
"""Shapely geometries, and a record batch of their attributes."""


def in_order(blocks: Iterable[Rows], bounds: Bounds | None, scratch: Path) -> Iterator[Any]:
    """All rows along a Hilbert curve over ``bounds``; at one place, by geometry and then by each attribute.

    Every block is taken before the first rows are given. Memory holds a run and a slice of each run that
    is on disk; rows of exactly one place are held together.

    Parameters
    ----------
    blocks
        All with the same columns.
    bounds
        West, south, east, north. None takes the box around all features, through another file.
    scratch
        Folder for files, removed by the caller.

    Yields
    ------
    pyarrow.Table
        The attributes, then ``WKB`` (ISO, little-endian), the ``SIDES`` of
        the bounding box (nan without one) and ``PLACE``.
    """
    framed: Iterator[Any] = (part for block in blocks for part in _framed(block))
    if bounds is None:
        framed, bounds = _measured(framed, scratch / "all.arrow")
    yield from _merged(_runs(framed, bounds, scratch))


def kinds_of(geometries: np.ndarray) -> np.ndarray:
    """(n,) int8: shapely's number of the type, plus 8 with Z and plus 16 with M; -1 for None."""
    kinds = shapely.get_type_id(geometries).astype(np.int8)
    kinds[shapely.has_z(geometries)] += 8
    kinds[shapely.has_m(geometries)] += 16
    return kinds


def _framed(block: Rows) -> Iterator[Any]:
    """The rows with their geometry as bytes and their bounding box, some at a time."""
    for start in range(0, len(block[0]), 8 * SLICE):
        geometries = block[0][start : start + 8 * SLICE]
        attributes = block[1].slice(start, 8 * SLICE)
        wkb = shapely.to_wkb(geometries, flavor="iso", byte_order=1, output_dimension=4)
        sides = np.ascontiguousarray(shapely.bounds(geometries).T)
        arrays = [*attributes.columns, pyarrow.array(wkb, pyarrow.binary())]
        names = [*attributes.schema.names, WKB, *SIDES]
        yield pyarrow.table([*arrays, *(pyarrow.array(side) for side in sides)], names=names)


def _measured(tables: Iterable[Any], file: Path) -> tuple[Iterator[Any], Bounds]:
    """The same tables again, and the box around them."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    writer = None
    for table in tables:
        writer = writer or pyarrow.ipc.new_file(file, table.schema, options=_OPTIONS)
        writer.write_table(table, max_chunksize=SLICE)
        sides = np.stack([table[name].to_numpy() for name in SIDES], axis=1)
        sides = sides[~np.isnan(sides).any(axis=1)]
        if len(sides):
            low, high = np.minimum(low, sides[:, :2].min(axis=0)), np.maximum(high, sides[:, 2:].max(axis=0))
    if writer is not None:
        writer.close()
    bounds = (*low.tolist(), *high.tolist()) if np.isfinite(low).all() else (0.0, 0.0, 1.0, 1.0)
    return (_read(file) if writer is not None else iter(())), bounds


def _read(file: Path) -> Iterator[Any]:
    with pyarrow.OSFile(str(file)) as opened, pyarrow.ipc.open_file(opened) as reader:
        for number in range(reader.num_record_batches):
            yield pyarrow.Table.from_batches([reader.get_batch(number)])


def _runs(tables: Iterable[Any], bounds: Bounds, scratch: Path) -> list["_Run"]:
    """Sorted runs; the last stays in memory."""
    runs: list[_Run] = []
    held: list[Any] = []
    size = 0
    for table in tables:
        if size >= RUN_BYTES:
            runs.append(_Run(_spilled(_by_place(held, bounds), scratch / f"{len(runs)}.arrow")))
            held, size = [], 0
        held.append(table)
        size += table.nbytes
    if held:
        runs.append(_Run(iter([_by_place(held, bounds)])))
    return runs


def _by_place(tables: list[Any], bounds: Bounds) -> Any:
    table = pyarrow.concat_tables(tables).combine_chunks()
    west, south, east, north = (table[name].to_numpy() for name in SIDES)
    places = hilbert_places(np.stack([(west + east) / 2, (south + north) / 2], axis=1), bounds)
    order = np.argsort(places, kind="stable")
    return table.append_column(PLACE, pyarrow.array(places)).take(order)


def _spilled(table: Any, file: Path) -> Iterator[Any]:
    rows = min(max(len(table) // 64, 1), SLICE)
    with pyarrow.ipc.new_file(file, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table, max_chunksize=rows)
    return _read(file)


class _Run:
    """Rows in the order of their places, of which a part is in memory."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts
        self.table = next(parts)
        self.places = self.table[PLACE].to_numpy()
        self._ended = False
        self._ahead: Any = None
        self._look()

    def _look(self) -> None:
        self._ahead = next(self._parts, None)
        self._ended = self._ahead is None

    @property
    def ended(self) -> bool:
        """Whether all that is left is in memory."""
        return self._ended

    def extend(self) -> None:
        """Take the next part into memory."""
        self.table = pyarrow.concat_tables([self.table, self._ahead])
        self.places = self.table[PLACE].to_numpy()
        self._look()

    def cut(self, rows: int) -> Any:
        """Take the first rows away."""
        head = self.table.slice(0, rows)
        self.table, self.places = self.table.slice(rows), self.places[rows:]
        return head


def _merged(runs: list[_Run]) -> Iterator[Any]:
    while runs:
        for run in runs:
            if not len(run.places) and not run.ended:
                run.extend()
        runs = [run for run in runs if len(run.places)]
        going_on = [run for run in runs if not run.ended]
        if not going_on:
            if runs:
                yield _settled(pyarrow.concat_tables([run.table for run in runs]))
            return
        # what comes next in any run is at this place or behind it
        border = min(run.places[-1] for run in going_on)
        heads = [run.cut(int(np.searchsorted(run.places, border, side="left"))) for run in runs]
        ready = pyarrow.concat_tables(heads)
        if len(ready):
            yield _settled(ready)
            continue
        for run in going_on:
            if run.places[-1] == border:
                run.extend()


def _settled(table: Any) -> Any:
    """The rows in their one order."""
    table = table.combine_chunks()
    places = table[PLACE].to_numpy()
    order = np.argsort(places, kind="stable")
    same = places[order[1:]] == places[order[:-1]]
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if len(tied):
        order[tied] = order[tied][_ranks(table.take(order[tied]))]
    return table.take(order)


def _ranks(table: Any) -> np.ndarray:
    """The order by place, geometry and every attribute."""
    names = [PLACE, WKB, *(name for name in table.column_names if not name.startswith(_FRAME))]
    columns = [_comparable(table[name]) for name in names]
    plain = pyarrow.table(columns, names=[str(number) for number in range(len(columns))])
    keys = [(name, "ascending") for name in plain.column_names]
    return pyarrow.compute.sort_indices(plain, sort_keys=keys).to_numpy()


def _comparable(column: Any) -> Any:
    """A column that Arrow can sort: the text of what it cannot."""
    kind = column.type
    if pyarrow.types.is_nested(kind) or pyarrow.types.is_dictionary(kind) or pyarrow.types.is_null(kind):
        return pyarrow.array([repr(value) for value in column.to_pylist()], pyarrow.string())
    return column


_OPTIONS = pyarrow.ipc.IpcWriteOptions(compression="lz4")
