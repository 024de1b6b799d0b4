"""A chip plan as work for the driver: one batch for each shard of the store."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rasterloom.cluster.jobs import BatchResult
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.chips.cut import ChipStats, cut_chips
from rasterloom.pipeline.chips.plan import ChipPlan
from rasterloom.pipeline.labels.prepared import read_prepared, write_prepared
from rasterloom.pipeline.rasters.grid import Bounds, Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.write import ChipWriter


@dataclass(frozen=True)
class Shard:
    """The chips of one shard. It is written by one task, so it is never cut."""

    index: int
    """Position among the shards."""
    start: int
    """First chip."""
    corners: tuple[tuple[int, int], ...]
    """Row and column of each chip's upper-left pixel."""

    @property
    def id(self) -> str:
        return f"shard-{self.index:07d}"

    @property
    def cells(self) -> int:
        return len(self.corners)

    def halves(self) -> None:
        """None: two tasks cannot write one shard."""
        return

    def cell_ids(self) -> Iterator[str]:
        for row, col in self.corners:
            yield f"chip-{row}-{col}"


@dataclass(frozen=True)
class ShardPlan:
    """A chip plan laid out on disk: paths travel with a task, and a shard brings its own chips."""

    id: str
    """The chip plan's."""
    raster: Raster
    tile: tuple[int, int]
    """Height and width of a chip in pixels."""
    store: str
    """Folder of the store that is being written."""
    folder: str
    """Folder of the prepared features, the chips' corners and the statistics of finished shards."""
    chips: int
    """Number of chips."""
    shard: int
    """Chips of a shard."""

    @classmethod
    def lay_out(cls, plan: ChipPlan, writer: ChipWriter, folder: Path) -> "ShardPlan":
        """Write what the tasks read, unless an earlier run of the same plan has.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        try:
            (folder / "statistics").mkdir(parents=True, exist_ok=True)
            if not (folder / "complete").exists():
                write_prepared(plan.labels, folder / "labels.parquet")
                np.save(folder / "corners.npy", plan.corners)
                (folder / "complete").touch()
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be written: {error}. Make room for the labels there."
            ) from error
        return cls(plan.id, plan.raster, plan.tile, str(writer.path), str(folder), len(plan), writer.shard)

    @property
    def batch_count(self) -> int:
        return -(-self.chips // self.shard)

    @property
    def cell_count(self) -> int:
        return self.chips

    def batches(self) -> Iterator[Shard]:
        corners = np.load(Path(self.folder) / "corners.npy", mmap_mode="r")
        for index in range(self.batch_count):
            start = index * self.shard
            rows = corners[start : start + self.shard].tolist()
            yield Shard(index, start, tuple((row, col) for row, col in rows))

    def statistics(self) -> ChipStats:
        """Statistics of all shards, merged in their order whatever the order they were written in."""
        total = ChipStats(BandStats.empty(self.raster.band_count), {})
        for index in range(self.batch_count):
            file = Path(self.folder) / "statistics" / f"shard-{index:07d}.json"
            total = total.merge(ChipStats.from_json(json.loads(file.read_text("utf-8"))))
        return total


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
    writer = ChipWriter.open(plan.store)
    corners = np.array(batch.corners, np.int64)
    labels = read_prepared(Path(plan.folder) / "labels.parquet", _ground(plan, corners))
    block, stats = cut_chips(plan.raster, labels, corners, tile=plan.tile, mask_dtype=writer.spec.mask_dtype)
    writer.write(batch.start, block)
    _keep(Path(plan.folder) / "statistics" / f"{batch.id}.json", stats)
    return BatchResult(
        batch=batch.id,
        cells=batch.cells,
        pixels=block.masks.size,
        seconds=time.perf_counter() - started,
    )


def _ground(plan: ShardPlan, corners: np.ndarray) -> Bounds:
    """Bounding box of the chips in CRS units."""
    (row, col), (row_last, col_last) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    height, width = row_last - row + plan.tile[0], col_last - col + plan.tile[1]
    return plan.raster.grid.window_bounds(Window(row, col, height, width))


def _keep(path: Path, stats: ChipStats) -> None:
    # a file and not the batch's summary: hundreds of bands do not fit in the 10,000 bytes of a summary
    try:
        path.write_text(json.dumps(stats.to_json()), "utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
