"""The tasks of extracting lines: thin every cell until nothing changes, then cut what is left into arcs."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.cluster.jobs import BatchResult
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.inference.cells import CellBlock, cell_id
from rasterloom.pipeline.inference.lines_cell import (
    arcs_in,
    bodies_apart,
    body_in,
    thin_in,
    thin_name,
    thin_to_bytes,
    to_bytes,
)
from rasterloom.pipeline.inference.lines_plan import PASSES, LinesPlan
from rasterloom.pipeline.outputs.lines_thin import REACH, thin_passes

OPEN, AREAS, ENDS, PATHS = "open", "areas", "ends", "paths"
"""Endings of file names: a cell still changing, sizes of bodies, ends of arcs, their pixels."""

_HALO = REACH * PASSES


@dataclass(frozen=True)
class ThinPlan:
    """One turn of thinning, of the cells in which something may still change."""

    lines: LinesPlan
    turn: int
    """From 0."""
    active: tuple[tuple[int, int], ...] | None = None
    """Rows and columns of cells; None: all. Tasks do not need it, and do not get it."""

    def __getstate__(self) -> dict[str, Any]:
        return {"lines": self.lines, "turn": self.turn, "active": None}

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.lines.id} thin {self.turn}".encode()).hexdigest()

    @property
    def cell_count(self) -> int:
        return self.lines.cell_count if self.active is None else len(self.active)

    @property
    def batch_count(self) -> int:
        return self.lines.batch_count if self.active is None else len(self.active)

    def batches(self) -> Iterator[CellBlock]:
        if self.active is None:
            return self.lines.batches()
        return (CellBlock(row, col, 1, 1) for row, col in self.active)


@dataclass(frozen=True)
class TracePlan:
    """Cut what is left after the last turn of thinning into arcs, cell by cell."""

    lines: LinesPlan
    turn: int
    """The last one."""

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.lines.id} trace {self.turn}".encode()).hexdigest()

    @property
    def cell_count(self) -> int:
        return self.lines.cell_count

    @property
    def batch_count(self) -> int:
        return self.lines.batch_count

    def batches(self) -> Iterator[CellBlock]:
        return self.lines.batches()


def still_open(lines: LinesPlan, turn: int) -> tuple[tuple[int, int], ...]:
    """Cells that the next turn has to look at: those that were changing, and all that these can reach."""
    ending = f".{turn}.{OPEN}"
    names = [name for name in lines.place.names() if name.endswith(ending)]
    whole, reach = lines.cells.whole, -(-_HALO // lines.cells.side)
    rows, cols = whole.row + whole.rows, whole.col + whole.cols
    found: set[tuple[int, int]] = set()
    for name in names:
        row, col = map(int, name.removesuffix(ending).split("_"))
        for other in range(max(row - reach, whole.row), min(row + reach + 1, rows)):
            across = range(max(col - reach, whole.col), min(col + reach + 1, cols))
            found.update((other, each) for each in across)
    return tuple(sorted(found))


def thin_cells(plan: ThinPlan, batch: CellBlock) -> BatchResult:
    """Thin the cells of a batch by some passes and write what is left of each. Safe to repeat.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OutputError
        If a file cannot be written.
    """
    started, pixels = time.perf_counter(), 0
    lines = plan.lines
    for row, col in batch.positions():
        window = lines.cells.window(row, col)
        pixels += window.height * window.width
        around = window.padded(_HALO)
        own = slice(_HALO, -_HALO), slice(_HALO, -_HALO)
        if plan.turn == 0:
            body = body_in(lines, around)[0]
            if not body[own].any():
                continue
            if lines.labelled:
                _write(lines, f"{cell_id(row, col)}.{AREAS}", _areas(body[own]))
        else:
            body = thin_in(lines, around, plan.turn - 1)
        left, taken = thin_passes(body, PASSES)
        _write(lines, thin_name(row, col, plan.turn), thin_to_bytes(left[own]))
        inside = (taken >= _HALO) & (taken < np.array([window.height, window.width]) + _HALO)
        if inside.all(axis=1).any():
            _write(lines, f"{thin_name(row, col, plan.turn)}.{OPEN}", b"")
    return BatchResult(batch.id, batch.cells, pixels, time.perf_counter() - started)


def trace_cells(plan: TracePlan, batch: CellBlock) -> BatchResult:
    """Cut the thin lines of the cells of a batch into arcs, and write them. Safe to repeat.

    Errors as for :func:`thin_cells`.
    """
    started, pixels, arcs = time.perf_counter(), 0, 0
    lines = plan.lines
    for row, col in batch.positions():
        window = lines.cells.window(row, col)
        pixels += window.height * window.width
        found, columns = arcs_in(lines, window, plan.turn)
        name = cell_id(row, col)
        if not len(found):
            for ending in (PATHS, ENDS):  # of an earlier run that lacked cells
                lines.place.remove(f"{name}.{ending}")
            continue
        arcs += len(found)
        paths = to_bytes(pixels=found.pixels, starts=found.starts, values=columns["values"])
        _write(lines, f"{name}.{PATHS}", paths)
        steps = found.steps(lines.ground.columns)
        _write(lines, f"{name}.{ENDS}", to_bytes(ends=found.ends, steps=steps, body=columns["body"]))
    return BatchResult(batch.id, batch.cells, pixels, time.perf_counter() - started, summary={"arcs": arcs})


def _areas(held: np.ndarray) -> bytes:
    """How many pixels each body has in a cell, and which bodies lie along its sides."""
    bodies = bodies_apart(held)
    return to_bytes(
        pixels=np.bincount(bodies.reshape(-1)),
        top=bodies[0],
        bottom=bodies[-1],
        left=bodies[:, 0],
        right=bodies[:, -1],
    )


def _write(lines: LinesPlan, name: str, content: bytes) -> None:
    try:
        lines.place.write(name, content)
    except OSError as error:
        raise OutputError(f"what was found cannot be written to {lines.place}: {error}.") from error
