"""What a long job is made of: a plan, its batches, and what each batch reports."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Batch(Protocol):
    """A compact group of cells that one task computes. Frozen, picklable, hashable, small."""

    @property
    def id(self) -> str:
        """Stable text, unique within the plan and safe as a file name. Halves have ids of their own."""

    @property
    def cells(self) -> int:
        """Number of cells."""

    def halves(self) -> "tuple[Batch, Batch] | None":
        """The batch in two parts that together own the same cells.

        None for a batch that must not be cut: a single cell, or several cells that share one output which
        only one task may write. The two parts may be computed at the same time.
        """

    def cell_ids(self) -> Iterator[str]:
        """Name every cell once."""


class Plan(Protocol):
    """A whole job, known before any of it is computed. Pure, deterministic, picklable, small.

    A plan travels with every task, so it holds paths and numbers, never pixels.
    """

    @property
    def id(self) -> str:
        """Hash of all that the result depends on. Two plans with one id give the same bytes."""

    @property
    def batch_count(self) -> int:
        """Number of batches."""

    @property
    def cell_count(self) -> int:
        """Number of cells in all batches."""

    def batches(self) -> Iterator[Batch]:
        """Generate the batches, always in the same order, without ever holding all of them."""


@dataclass(frozen=True)
class CellFailure:
    """A cell that was given up."""

    cell: str
    """Name of the cell."""
    reason: str
    """What went wrong, in the words of the last error."""
    attempts: int
    """How often it was tried."""


@dataclass(frozen=True)
class BatchResult:
    """What a batch reports when all its outputs are written. Small: arrays belong in the outputs."""

    batch: str
    """Id of the batch."""
    cells: int
    """Cells of the batch, failed ones included."""
    pixels: int
    """Pixels computed."""
    seconds: float
    """Time from start to end."""
    failed: tuple[CellFailure, ...] = ()
    """Cells that the batch itself gave up and left without data."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """What the plan's owner gathers afterwards, as JSON values of at most 10,000 bytes."""


RunBatch = Callable[[Any, Any], BatchResult]
"""A module-level function of a plan and one of its batches. It writes the outputs, then returns."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    done_cells: int
    """Cells that need no more work: computed, found done, or given up."""
    total_cells: int
    """Cells of the plan."""
    pixels: int
    """Pixels computed in this run."""
    failed: int
    """Cells given up in this run."""
    seconds: float
    """Time since the run began."""
    resumed_cells: int = 0
    """Cells found done by an earlier run; they took no time in this one."""


@dataclass(frozen=True)
class RunReport:
    """What came of a run."""

    plan_id: str
    """Id of the plan."""
    batches: int
    """Batches of the plan."""
    resumed: int
    """Batches that an earlier run had finished."""
    computed: int
    """Batches finished in this run, those with failed cells included."""
    cells: int
    """Cells of the plan."""
    pixels: int
    """Pixels computed in this run."""
    failed: tuple[CellFailure, ...]
    """Cells given up in this run."""
    seconds: float
    """Time from start to end of this run."""
    workers: int
    """Most worker processes seen at once; 0 when this process did the work itself."""
