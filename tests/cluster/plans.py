"""A job for the driver: numbered cells, each written as one small file, with trouble where asked for."""

import errno
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rasterloom.cluster.jobs import BatchResult, CellFailure
from rasterloom.models.errors import OutputError, ReadError

PIXELS_PER_CELL = 100


@dataclass(frozen=True)
class Span:
    """Cells ``start`` to ``stop``."""

    start: int
    stop: int

    @property
    def id(self) -> str:
        return f"{self.start:07d}-{self.stop:07d}"

    @property
    def cells(self) -> int:
        return self.stop - self.start

    def halves(self) -> "tuple[Span, Span] | None":
        if self.cells == 1:
            return None
        middle = (self.start + self.stop) // 2
        return Span(self.start, middle), Span(middle, self.stop)

    def cell_ids(self) -> Iterator[str]:
        return (f"cell-{number}" for number in range(self.start, self.stop))


@dataclass(frozen=True)
class SpanPlan:
    """Cells 0 to ``cells`` in batches of ``size``."""

    folder: str
    cells: int
    size: int = 4
    trouble: tuple[tuple[int, str], ...] = ()
    """What goes wrong at which cell; see ``_make_trouble``."""
    seconds: float = 0.0
    """How long a batch takes."""

    @property
    def id(self) -> str:
        return f"spans-{self.cells}-{self.size}"

    @property
    def batch_count(self) -> int:
        return -(-self.cells // self.size)

    @property
    def cell_count(self) -> int:
        return self.cells

    def batches(self) -> Iterator[Span]:
        for start in range(0, self.cells, self.size):
            yield Span(start, min(start + self.size, self.cells))

    def written(self) -> dict[int, str]:
        """Cells that stand on disk, and what is in them."""
        files = (Path(self.folder) / "cells").glob("[0-9]*")
        return {int(path.name): path.read_text() for path in files}

    def starts(self) -> list[str]:
        """Ids of all batches that anyone began to compute, once for each time."""
        return sorted(path.read_text() for path in (Path(self.folder) / "starts").glob("*"))

    def expected(self, without: tuple[int, ...] = ()) -> dict[int, str]:
        return {cell: f"value of {cell}" for cell in range(self.cells) if cell not in without}


def write_cells(plan: SpanPlan, batch: Span) -> BatchResult:
    """Write one file for each cell."""
    root = Path(plan.folder)
    for name in ("starts", "cells", "once"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "starts" / uuid.uuid4().hex).write_text(batch.id)
    time.sleep(plan.seconds)
    for cell, kind in plan.trouble:
        if batch.start <= cell < batch.stop:
            _make_trouble(root, cell, kind)
    failed = tuple(
        CellFailure(f"cell-{cell}", "given up inside", 1)
        for cell, kind in plan.trouble
        if kind == "inside" and batch.start <= cell < batch.stop
    )
    for cell in range(batch.start, batch.stop):
        temporary = root / "cells" / f".{uuid.uuid4().hex}"
        temporary.write_text(f"value of {cell}")
        temporary.replace(root / "cells" / str(cell))
    pixels = PIXELS_PER_CELL * batch.cells
    total = sum(range(batch.start, batch.stop))
    return BatchResult(batch.id, batch.cells, pixels, plan.seconds, failed, {"sum": total})


def count_cells(plan: SpanPlan, batch: Span) -> BatchResult:
    """Compute nothing at all."""
    return BatchResult(batch.id, batch.cells, PIXELS_PER_CELL * batch.cells, 0.0)


def return_nothing(plan: SpanPlan, batch: Span) -> None:
    """Forget the result."""


def _make_trouble(root: Path, cell: int, kind: str) -> None:
    if kind.startswith("once "):
        token = root / "once" / str(cell)
        if token.exists():
            return
        token.touch()
        kind = kind.removeprefix("once ")
    if kind == "read":
        raise ReadError(f"tile {cell} is corrupt")
    if kind == "memory":
        raise MemoryError
    if kind == "network":
        raise TimeoutError(f"no answer for {cell}")
    if kind == "exit":
        os._exit(1)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "type":
        raise TypeError(f"cell {cell} is not a number")
    if kind == "output":
        raise OutputError("the object store said no")
    if kind == "full":
        with Path("/dev/full").open("w") as file:
            file.write("x")
    if kind == "forbidden":
        raise PermissionError(errno.EACCES, "Permission denied", "/outputs/map.tif")
