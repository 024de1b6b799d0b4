"""What the driver itself costs, with work that costs nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import BatchResult, Progress
from rasterloom.cluster.markers import RunFolder
from rasterloom.pipeline.inference.cells import CellBlock, CellGrid
from rasterloom.pipeline.inference.sizing import cut_cells
from rasterloom.pipeline.rasters.grid import Window


@dataclass(frozen=True)
class FreePlan:
    """Cells of a raster with a model that costs nothing."""

    cells: CellGrid
    id: str = "free"

    @property
    def batch_count(self) -> int:
        return self.cells.batch_count

    @property
    def cell_count(self) -> int:
        return self.cells.whole.cells

    def batches(self) -> Iterator[CellBlock]:
        return self.cells.batches()


def run_free(plan: FreePlan, batch: CellBlock) -> BatchResult:
    """Say that the batch is done."""
    return BatchResult(batch=batch.id, cells=batch.cells, pixels=batch.cells, seconds=0.0)


def _tasks(dask_scheduler: Any = None) -> int:
    return len(dask_scheduler.tasks)


@dataclass
class Watch:
    """Looks at the scheduler now and then while a run goes on."""

    client: Any
    every: int
    calls: int = 0
    most_tasks: int = 0
    memory: list[int] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        self.calls += 1
        if self.calls % self.every == 0:
            self.most_tasks = max(self.most_tasks, self.client.run_on_scheduler(_tasks))
            self.memory.append(psutil.Process().memory_info().rss)


def test_the_scheduler_never_holds_more_than_the_window(
    tmp_path: Path, client: Any, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    side = 1_024_000 if timing else 30_720
    plan = FreePlan(cut_cells((side, side), Window(0, 0, side, side), tile=1024, padding=0))
    assert plan.cell_count == (1_000_000 if timing else 900)
    watch = Watch(client, every=20)
    report = execute(client, plan, run_free, RunFolder(tmp_path), on_progress=watch)
    assert report.computed == plan.batch_count
    window = 2 * sum(client.nthreads().values())
    assert 0 < watch.most_tasks <= window + 10
    with capsys.disabled():
        growth = (watch.memory[-1] - watch.memory[0]) / 1e6
        print(
            f"\n{plan.cell_count:,} free cells: {report.seconds:.1f} s, at most {watch.most_tasks} tasks "
            f"on the scheduler (window {window}), client grew {growth:.1f} MB"
        )
