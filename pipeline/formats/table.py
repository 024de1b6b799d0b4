"""A table beside the chips of a folder: what its other files cannot hold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rasterloom.models.errors import OutputError, StoreError
from rasterloom.pipeline.formats.layout import Batch, Entry, Found, Written
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.labels.outlines import run_boxes
from rasterloom.pipeline.store.layout import SPLITS

TABLE = "rasterloom_chips.parquet"

_CHIP = [
    ("number", pa.int64()),
    ("stem", pa.string()),
    ("image", pa.string()),
    ("labels", pa.list_(pa.string())),
    ("image2", pa.string()),
    ("source", pa.int32()),
    ("window", pa.list_(pa.int64(), 4)),
    ("rotation", pa.float32()),
    ("split", pa.string()),
    ("transform", pa.list_(pa.float64(), 6)),
    ("size", pa.list_(pa.int32(), 2)),
]
_OBJECTS = [
    ("order", pa.list_(pa.int32())),
    ("values", pa.list_(pa.int64())),
    ("boxes", pa.list_(pa.float32())),
    ("shares", pa.list_(pa.float32())),
    ("areas", pa.list_(pa.float64())),
    ("features", pa.list_(pa.int64())),
    ("pixels", pa.list_(pa.int64())),
]
"""Of the objects of a chip, in the order of its label files; ``order`` is where each stood before."""

SCHEMA = pa.schema(_CHIP + _OBJECTS)


def chip_rows(batch: Batch, written: Sequence[Written]) -> Any:
    """The rows of some chips."""
    block = batch.block
    entries = batch.entries
    columns: dict[str, Any] = {
        "number": np.asarray(block.numbers, np.int64),
        "stem": [entry.stem for entry in entries],
        "image": [entry.image for entry in entries],
        "labels": [list(one.labels) for one in written],
        "image2": [entry.image2 for entry in entries],
        "source": np.asarray(block.source, np.int32),
        "window": np.asarray(block.windows, np.int64).tolist(),
        "rotation": np.asarray(block.rotation, np.float32),
        "split": [SPLITS[code] for code in np.asarray(block.split).tolist()],
        "transform": np.asarray(block.transforms, np.float64).tolist(),
        "size": np.asarray(block.known_sizes, np.int32).tolist(),
    }
    objects = block.objects
    width = block.images.shape[3]
    for chip in range(len(block)):
        own = None if objects is None else objects.of([chip])
        order = written[chip].order
        for name, values in _object_columns(own, order, width).items():
            columns.setdefault(name, []).append(values)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SCHEMA}, SCHEMA)


def _object_columns(own: Objects | None, order: np.ndarray | None, width: int) -> dict[str, Any]:
    if own is None:
        return dict.fromkeys((name for name, _ in _OBJECTS), None)
    if order is None:
        order = np.arange(len(own))
    pixels = None
    if own.runs is not None and own.run_counts is not None:
        pixels = run_boxes(own.run_counts, own.runs, width)[1][order]
    return {
        "order": order,
        "values": own.values[order],
        "boxes": own.boxes[order].reshape(-1),
        "shares": own.shares[order],
        "areas": own.areas[order],
        "features": own.features[order],
        "pixels": pixels,
    }


def write_rows(path: Path, tables: Iterable[Any]) -> None:
    """Write tables of rows one after the other; only one is in memory at a time.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            for table in tables:
                writer.write_table(table)
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}. Make room, or choose another folder."
        ) from error


@dataclass(frozen=True, eq=False)
class ChipTable:
    """The table of a folder, open for reading."""

    path: Path
    chips: dict[str, Any]
    """Lists of text and arrays of numbers, by column."""

    @classmethod
    def open(cls, path: Path) -> "ChipTable":
        """Read what is known of the chips; objects are read when they are asked for.

        Raises
        ------
        StoreError
            If the table is damaged.
        """
        try:
            table = pq.read_table(path, columns=[name for name, _ in _CHIP])
        except (OSError, pa.ArrowException) as error:
            raise StoreError(
                f"{path} cannot be read: {error}. Remove it: other files tell enough to read the folder."
            ) from error
        if [f.type for f in table.schema] != [kind for _, kind in _CHIP]:
            raise StoreError(f"{path} has other columns than expected: remove it.")
        columns: dict[str, Any] = {}
        for name, kind in _CHIP:
            column = table[name].combine_chunks()
            if pa.types.is_fixed_size_list(kind):
                columns[name] = column.flatten().to_numpy().reshape(-1, kind.list_size)
            elif name in ("number", "source", "rotation"):
                columns[name] = column.to_numpy()
            else:
                columns[name] = column.to_pylist()
        return cls(path, columns)

    def entries(self) -> tuple[Entry, ...]:
        """The files of each chip."""
        names = ("stem", "image", "labels", "image2", "split")
        rows = zip(*(self.chips[name] for name in names), strict=True)
        return tuple(
            Entry(stem, image, tuple(labels), image2, split) for stem, image, labels, image2, split in rows
        )


def read_objects(path: Path) -> Any:
    """The rows with all columns of objects."""
    try:
        return pq.read_table(path, columns=[name for name, _ in _OBJECTS]).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}. Remove it.") from error


def completed(
    found: Found, row: dict[str, Any] | None, *, width: int, pixel_area: float, near: float
) -> tuple[Objects, np.ndarray | None]:
    """The objects of one chip from its label files, with what the table adds where the two agree.

    The files say what is there. The table gives the digits, shares, areas and positions that they cannot
    hold, as long as it tells of the same objects.

    Parameters
    ----------
    row
        The chip's row of the table; None where there is none.
    width
        Of the chips, which runs count along.
    near
        Pixels by which boxes may differ and still be the same.

    Returns
    -------
    objects
        In their own order, where the table knows it.
    order
        Their positions in the order of the files; None where that is the same.
    """
    runs = None if found.runs is None else _joined(found.runs)
    run_counts = None if found.runs is None else np.array([len(r) for r in found.runs], np.int64)
    pixels = None
    if runs is not None and run_counts is not None:
        pixels = run_boxes(run_counts, runs, width)[1]
    if row is not None and row["values"] is not None and _agree(found, pixels, row, near):
        objects = Objects(
            np.array([len(found.values)], np.int64),
            np.asarray(row["boxes"], np.float32).reshape(-1, 4),
            found.values,
            np.asarray(row["shares"], np.float32),
            np.asarray(row["areas"], np.float64),
            np.asarray(row["features"], np.int64),
            run_counts,
            runs,
        )
        order = np.asarray(row["order"], np.int64)
        return _reordered(objects, order), order
    sides = found.boxes[:, 2:].astype(np.float64) - found.boxes[:, :2]
    cells = sides.prod(axis=1) if pixels is None else pixels.astype(np.float64)
    plain = Objects(
        np.array([len(found.values)], np.int64),
        found.boxes,
        found.values,
        np.ones(len(found.values), np.float32),
        cells * pixel_area,
        np.full(len(found.values), -1, np.int64),
        run_counts,
        runs,
    )
    return plain, None


def _agree(found: Found, pixels: np.ndarray | None, row: dict[str, Any], near: float) -> bool:
    if not np.array_equal(found.values, row["values"]):
        return False
    if pixels is not None and row["pixels"] is not None:
        return np.array_equal(pixels, row["pixels"])
    boxes = np.asarray(row["boxes"], np.float64).reshape(-1, 4)
    return bool((np.abs(found.boxes - boxes) <= near).all())


def _reordered(objects: Objects, order: np.ndarray) -> Objects:
    """The objects in their own order, from that of the files."""
    if np.array_equal(order, np.arange(len(order))):
        return objects
    # one chip for each object, so that they can be taken in any order
    single = Objects(np.ones(len(order), np.int64), *(getattr(objects, name) for name in _COLUMNS))
    turned = single.of(np.argsort(order))
    return Objects(objects.counts, *(getattr(turned, name) for name in _COLUMNS))


_COLUMNS = ("boxes", "values", "shares", "areas", "features", "run_counts", "runs")


def _joined(runs: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros((0, 2), np.int32), *runs]).astype(np.int32)
