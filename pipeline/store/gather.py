"""Gather the objects of chips: kept beside the store shard by shard, then put together as flat arrays.

How many objects there are is known only at the end, and tasks write in any order: so each shard's go to a
file of their own first.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.store.arrays import ROW_SHARD, object_arrays

SIDE = "_objects"
"""Folder of the shards' objects inside an unfinished store."""
_NEW = "_arrays"
"""Folder in which the flat arrays grow inside an unfinished store."""

_FIELDS = ("counts", "boxes", "values", "shares", "areas", "features", "run_counts", "runs")


def keep(store: Path, start: int, objects: Objects, *, outlines: bool) -> None:
    """Keep the objects of the shard that begins with chip ``start``. It appears whole, or not at all."""
    fields = _FIELDS if outlines else _FIELDS[:-2]
    file = _side_file(store, start)
    file.parent.mkdir(exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("wb") as handle:
        np.savez(handle, **{name: getattr(objects, name) for name in fields})
    partial.replace(file)


def put_together(
    store: Path, *, starts: Sequence[int], chips: int, outlines: bool, before: Iterable[Objects] = ()
) -> None:
    """Make the flat arrays from all shards' objects, in the order of the chips. Safe to repeat.

    Parameters
    ----------
    starts
        First chip of each shard that was kept, ascending.
    chips
        Chips of the whole store.
    before
        Objects of the chips in front of the first kept shard.

    Raises
    ------
    StoreError
        If a shard was never kept.
    """
    layout = object_arrays(chips, 0, 0 if outlines else None)
    lacking = [start for start in starts if not _side_file(store, start).exists()]
    if not lacking:
        _assemble(store, layout, chain(before, _kept(store, starts)))
    elif not all((store / name).exists() for name in layout):
        raise StoreError(
            f"{store} lacks the objects of {len(lacking)} shards, the first from chip {lacking[0]} on: "
            "write them first."
        )
    # else an earlier call was cut off while it removed what it no longer needed
    shutil.rmtree(store / SIDE, ignore_errors=True)


def _side_file(store: Path, start: int) -> Path:
    return store / SIDE / f"chips-{start:010d}.npz"


def _kept(store: Path, starts: Sequence[int]) -> Iterator[Objects]:
    for start in starts:
        with np.load(_side_file(store, start), allow_pickle=False) as parts:
            yield Objects(**{name: parts[name] for name in parts.files})


def _assemble(store: Path, layout: dict[str, dict[str, Any]], parts: Iterable[Objects]) -> None:
    group = zarr.open_group(store / _NEW, mode="w", zarr_format=3)
    columns = {name: _Column(group.create_array(name, **arguments)) for name, arguments in layout.items()}
    ends: dict[str, int] = {name: 0 for name in columns if name.endswith("_offsets")}
    for name in ends:
        columns[name].add(np.zeros(1, np.int64))
    for objects in parts:
        rows: dict[str, Any] = {
            "boxes": objects.boxes,
            "box_labels": objects.values,
            "box_shares": objects.shares,
            "box_areas": objects.areas,
            "box_features": objects.features,
            "object_runs": objects.runs,
        }
        for name, counts in (("box_offsets", objects.counts), ("run_offsets", objects.run_counts)):
            if name in ends and counts is not None:
                rows[name] = ends[name] + np.cumsum(counts)
                ends[name] += int(np.sum(counts))
        for name, column in columns.items():
            column.add(rows[name])
    for name, column in columns.items():
        column.close()
        shutil.rmtree(store / name, ignore_errors=True)
        (store / _NEW / name).rename(store / name)
    shutil.rmtree(store / _NEW)


class _Column:
    """A flat array that grows at its end, a whole file at a time, so that only one file's rows are held."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._parts: list[np.ndarray] = []
        self._held = 0
        self._written = 0

    def add(self, rows: np.ndarray) -> None:
        """Put rows behind those that are there."""
        self._parts.append(rows)
        self._held += len(rows)
        if self._held >= ROW_SHARD:
            self._write(self._held - self._held % ROW_SHARD)

    def close(self) -> None:
        """Write what is still held and set the array's length."""
        self._write(self._held)
        self._array.resize((self._written, *self._array.shape[1:]))

    def _write(self, count: int) -> None:
        rows = np.concatenate(self._parts) if self._parts else np.zeros(0)
        stop = self._written + count
        if count:
            self._array.resize((stop, *self._array.shape[1:]))
            self._array[self._written : stop] = rows[:count]
        self._parts = [rows[count:].copy()]  # a view would keep what is written
        self._held -= count
        self._written = stop
