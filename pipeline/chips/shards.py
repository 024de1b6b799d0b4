"""A chip plan as work for the driver: one batch for each shard of what is written."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.cluster.jobs import BatchResult
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.chips.cut import ChipStats, cut_chips
from rasterloom.pipeline.chips.plan import ChipPlan, Cutting
from rasterloom.pipeline.chips.sinks import open_chips, open_sink
from rasterloom.pipeline.chips.sources import ChipSource
from rasterloom.pipeline.store.append import carried
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.layout import StoreSpec


@dataclass(frozen=True)
class Shard:
    """The chips of one shard. It is written by one task, so it is never cut."""

    index: int
    """Position among the shards."""
    start: int
    """First chip."""
    stop: int
    """Chip after the last."""
    sources: tuple[tuple[int, ChipSource], ...]
    """The sources of its chips, by their positions."""

    @property
    def id(self) -> str:
        return f"shard-{self.index:07d}"

    @property
    def cells(self) -> int:
        return self.stop - self.start

    def halves(self) -> None:
        """None: two tasks cannot write one shard."""
        return

    def cell_ids(self) -> Iterator[str]:
        for chip in range(self.start, self.stop):
            yield f"chip-{chip}"


@dataclass(frozen=True, eq=False)
class ShardPlan:
    """A chip plan laid out on disk: paths travel with a task, and a shard brings its own sources."""

    id: str
    """The chip plan's, and what its chips are appended to."""
    sources: tuple[ChipSource, ...]
    """All of them; empty in a task."""
    places: tuple[int, ...]
    """Where each source stands among those of what is written."""
    cutting: Cutting
    sink: str
    """Folder that is being written."""
    chip_format: str
    folder: str
    """Folder of the prepared features, the chips' table and the statistics of finished shards."""
    chips: int
    """Number of chips, those that are there already included."""
    shard: int
    """Chips of a shard."""
    first: int = 0
    """Chip that writing begins with."""
    before: int = 0
    """Chips that are there already."""
    base: str = ""
    """What they are read from."""

    def __getstate__(self) -> dict[str, Any]:
        # a thousand sources would travel with every task
        return {**self.__dict__, "sources": ()}

    @property
    def batch_count(self) -> int:
        return -(-(self.chips - self.first) // self.shard)

    @property
    def cell_count(self) -> int:
        return self.chips - self.first

    def batches(self) -> Iterator[Shard]:
        for index in range(self.batch_count):
            start = self.first + index * self.shard
            stop = min(start + self.shard, self.chips)
            numbers = np.unique(self.table(start, stop)["source"]).tolist()
            yield Shard(index, start, stop, tuple((number, self.sources[number]) for number in numbers))

    def table(self, start: int, stop: int) -> np.ndarray:
        """Rows of ``CHIP`` for the new chips among ``start`` to ``stop``."""
        chips = np.load(Path(self.folder) / "chips.npy", mmap_mode="r")
        return np.array(chips[max(start - self.before, 0) : max(stop - self.before, 0)])

    def statistics(self, spec: StoreSpec) -> ChipStats:
        """Statistics of all new chips, merged in their order whatever the order they were written in."""
        total = ChipStats.nothing(spec)
        for index in range(self.batch_count):
            file = Path(self.folder) / "statistics" / f"shard-{index:07d}.json"
            total = total.merge(ChipStats.from_json(json.loads(file.read_text("utf-8"))))
        return total


def lay_out(
    plan: ChipPlan, staged: Path, folder: Path, sink: Any, *, chip_format: str, places: Any, base: Any = None
) -> ShardPlan:
    """Write what the tasks read, unless an earlier run of the same plan has.

    Parameters
    ----------
    staged
        Where the features of the plan's sources were prepared; what is there is moved.
    folder
        Where the tasks look for them.
    sink
        What the chips are written to.
    places
        Where each source stands among the sink's.
    base
        Reader of the chips that are there already.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    try:
        (folder / "statistics").mkdir(parents=True, exist_ok=True)
        if not (folder / "complete").exists():
            for part in sorted(staged.iterdir()):
                target = folder / part.name
                shutil.rmtree(target, ignore_errors=True)
                shutil.move(part, target)
            np.save(folder / "chips.npy", plan.chips)
            (folder / "complete").touch()
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}. Make room for the labels there.") from error
    before = 0 if base is None else len(base)
    return ShardPlan(
        id=plan.id,
        sources=tuple(source.for_tasks(folder, staged) for source in plan.sources),
        places=tuple(int(place) for place in places),
        cutting=plan.cutting,
        sink=str(sink.path),
        chip_format=chip_format,
        folder=str(folder),
        chips=before + len(plan),
        shard=sink.shard,
        first=getattr(sink, "first", 0),
        before=before,
        base="" if base is None else str(base.path),
    )


def write_shard(plan: ShardPlan, batch: Shard) -> BatchResult:
    """Cut the chips of one shard and write them. Safe to repeat: the bytes are the same.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OutputError
        If the shard cannot be written.
    """
    started = time.perf_counter()
    sink = open_sink(plan.sink, plan.chip_format)
    block, stats = _cut(plan, batch, sink.spec)
    sink.write(batch.start, block)
    _keep(Path(plan.folder) / "statistics" / f"{batch.id}.json", stats)
    return BatchResult(
        batch=batch.id,
        cells=batch.cells,
        pixels=len(block) * block.images.shape[2] * block.images.shape[3],
        seconds=time.perf_counter() - started,
    )


def _cut(plan: ShardPlan, batch: Shard, spec: StoreSpec) -> tuple[ChipBlock, ChipStats]:
    """The chips of a shard with the statistics of the new ones among them."""
    parts, stats = [], ChipStats.nothing(spec)
    if batch.start < plan.before:
        there = range(batch.start, min(batch.stop, plan.before))
        parts.append(carried(open_chips(plan.base), there, spec))
    table = plan.table(batch.start, batch.stop)
    if len(table):
        block, stats = cut_chips(dict(batch.sources), table, plan.cutting, spec)
        parts.append(replace(block, source=np.array(plan.places, np.int32)[block.source]))
    return ChipBlock.joined(parts), stats


def _keep(path: Path, stats: ChipStats) -> None:
    # a file and not the batch's summary: hundreds of bands do not fit in the 10,000 bytes of a summary
    try:
        path.write_text(json.dumps(stats.to_json()), "utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
