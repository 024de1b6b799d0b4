"""The work of one task: cell after cell, whatever a cell's result is."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from rasterloom.cluster.jobs import BatchResult
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.forward import shared_cores
from rasterloom.pipeline.rasters.grid import Window


class CellWork(Protocol):
    """What is done to the cells of one batch. Safe to repeat."""

    def window(self, row: int, col: int) -> Window:
        """Pixels that a cell owns."""

    def compute(self, row: int, col: int) -> Any:
        """The result of a cell."""

    def write(self, row: int, col: int, found: Any) -> None:
        """Put it where the run gathers it."""

    def summary(self) -> Mapping[str, Any]:
        """What there is to say of all of them, as JSON values."""


def run_cells(work: CellWork, batch: CellBlock, device: str) -> BatchResult:
    """Compute the cells of a batch and write the result of each. No Dask inside."""
    started, pixels = time.perf_counter(), 0
    for row, col in batch.positions():
        with shared_cores(device):
            found = work.compute(row, col)
        work.write(row, col, found)
        window = work.window(row, col)
        pixels += window.height * window.width
    return BatchResult(
        batch=batch.id,
        cells=batch.cells,
        pixels=pixels,
        seconds=time.perf_counter() - started,
        failed=(),
        summary=work.summary(),
    )
