"""A class map counted against labels as work for the driver: one batch for each window."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rasterloom.cluster.jobs import BatchResult
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.labels.burn import burn
from rasterloom.pipeline.labels.prepared import read_prepared
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window
from rasterloom.pipeline.rasters.tiles import iter_windows

SIDE = 2048
"""Pixels a side of what is compared at once: bounds the memory of a task to about 150 MB."""

_VALUES = 65_536
"""Class values are below this."""

Pairs = Counter[tuple[int, int]]
"""Pixels of each (true class, given class)."""


@dataclass(frozen=True)
class CountBatch:
    """One window of the map. It is counted by one task, so it is never cut."""

    window: Window

    @property
    def id(self) -> str:
        return f"window-{self.window.row:07d}-{self.window.col:07d}"

    @property
    def cells(self) -> int:
        return 1

    def halves(self) -> None:
        """None: a window is one cell."""
        return

    def cell_ids(self) -> Iterator[str]:
        yield self.id


@dataclass(frozen=True)
class CountPlan:
    """What is compared where. Labels stand in ``folder`` or are a raster on the map's grid."""

    class_map: Raster
    window: Window
    """The part of the map that is compared."""
    truth: Raster | None
    """Class raster read on the map's grid; None where the labels are features."""
    labels: str
    """Etag of the features; empty where the labels are a raster."""
    folder: str
    """Where prepared features and counts are."""

    @cached_property
    def id(self) -> str:
        """SHA-256 of everything that the counts depend on."""
        truth = None if self.truth is None else [self.truth.etag, asdict(self.truth.grid)]
        parts = [self.class_map.etag, asdict(self.class_map.grid), asdict(self.window), truth, self.labels]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def batch_count(self) -> int:
        return -(-self.window.height // SIDE) * -(-self.window.width // SIDE)

    @property
    def cell_count(self) -> int:
        return self.batch_count

    def batches(self) -> Iterator[CountBatch]:
        for part in iter_windows((self.window.height, self.window.width), SIDE):
            row, col = part.row + self.window.row, part.col + self.window.col
            yield CountBatch(Window(row, col, part.height, part.width))

    def counted(self) -> Pairs:
        """The counts of all finished batches together."""
        total: Pairs = Counter()
        for batch in self.batches():
            truth, given, pixels = np.load(_counts_file(self.folder, batch))
            total.update(
                dict(zip(zip(truth.tolist(), given.tolist(), strict=True), pixels.tolist(), strict=True))
            )
        return total


def labels_file(folder: str | Path) -> Path:
    """Where the prepared features of a plan are."""
    return Path(folder) / "labels.parquet"


def count_window(plan: CountPlan, batch: CountBatch) -> BatchResult:
    """Count one window and keep the counts in the plan's folder. Safe to repeat.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OutputError
        If the counts cannot be written.
    """
    started = time.perf_counter()
    given, valid = read_window(plan.class_map, batch.window, (0,))
    truth, labelled = _truth(plan, batch.window)
    chosen = valid & labelled
    counts = count_pairs(truth[chosen], given[0][chosen])
    try:
        # a file and not the batch's summary: pairs of many classes do not fit in its 10,000 bytes
        np.save(_counts_file(plan.folder, batch), counts)
    except OSError as error:
        raise OutputError(f"{plan.folder} cannot be written: {error}.") from error
    seconds = time.perf_counter() - started
    return BatchResult(batch=batch.id, cells=1, pixels=int(chosen.sum()), seconds=seconds)


def count_pairs(truth: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Each pair of values that occurs and how often, (3, pairs) int64: true value, given value, pixels.

    Parameters
    ----------
    truth, given
        Class values 0..65535, arrays of one shape.
    """
    if truth.size == 0:
        return np.zeros((3, 0), np.int64)
    high = max(int(truth.max()), int(given.max())) + 1
    codes = truth.astype(np.int64).ravel() * high + given.astype(np.int64).ravel()
    if high <= 256:  # counting beats sorting while the table is small
        pixels = np.bincount(codes, minlength=high * high)
        found = np.flatnonzero(pixels)
        pixels = pixels[found]
    else:
        found, pixels = np.unique(codes, return_counts=True)
    return np.stack([found // high, found % high, pixels])


def _truth(plan: CountPlan, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Class values of the labels, 0 where there is none, and where they say anything, both (row, column)."""
    if plan.truth is not None:
        pixels, valid = read_window(plan.truth, window, (0,))
        return pixels[0], valid
    grid = plan.class_map.grid
    labels = read_prepared(labels_file(plan.folder), grid.window_bounds(window))
    pixels = burn(labels, grid, window, dtype="uint16")
    return pixels, np.ones(pixels.shape, bool)


def _counts_file(folder: str, batch: CountBatch) -> Path:
    return Path(folder) / f"{batch.id}.npy"
