"""Suppress any number of features leaf by leaf, and what leaves cannot decide all together."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rasterloom.cluster.driver import OnProgress, execute
from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.pipeline.seams.greedy import DROPPED, OPEN
from rasterloom.pipeline.seams.leaves import LEAF, Leaves
from rasterloom.pipeline.seams.spool import Spool
from rasterloom.pipeline.seams.suppression import suppress_shapes

if TYPE_CHECKING:
    from distributed import Client

_BLOCK = 200_000
"""Features that are handed out to leaves at once."""

_WIDE = 16
"""A feature that touches more leaves than this is kept in one file that all of them read."""

_EVERYWHERE = "wide"


def suppress_apart(
    spool: Spool,
    threshold: float,
    folder: Path,
    *,
    client: "Client | None" = None,
    leaf: int = LEAF,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
) -> np.ndarray:
    """Which features are kept, where each suppresses those of lower rank that it overlaps too much.

    Rank is the higher score, then the smaller number. A leaf of the plane decides all whose fate hangs on
    nothing beyond it. The others, near the borders of leaves, are then decided together. The result is that
    of doing all at once; memory goes with the features of a leaf, and with those that leaves left open.

    Parameters
    ----------
    spool
        The features.
    threshold
        IoU, 0..1, above which the lower rank is dropped.
    folder
        Takes files, and is removed by the caller. All workers see it, as they do the spool's.
    client
        Where to run; None runs in this process.
    leaf
        Features in a leaf, about.
    threads, on_progress
        As for ``execute``.

    Returns
    -------
    ndarray
        (n,) bool.

    Raises
    ------
    RunInterrupted
        On Ctrl-C, or when the cluster was lost.
    OutputError
        If something cannot be written.
    """
    kept = np.ones(spool.count, bool)
    leaves = Leaves.over(spool.column("boxes"), leaf=leaf)
    plan = LeafPlan(spool, threshold, leaves, folder)
    plan.hand_out()
    execute(
        client,
        plan,
        settle_leaves,
        RunFolder(folder / "run"),
        max_failed=0.0,
        threads=threads,
        on_progress=on_progress,
        title="suppress what overlaps",
    )
    waiting = []
    for number in range(leaves.count):
        kept[plan.numbers("dropped", number)] = False
        waiting.append(plan.numbers("open", number))
    rest = np.unique(np.concatenate(waiting))
    rest = rest[kept[rest]]
    state, numbers = _settled(spool, rest, threshold)
    kept[numbers[state == DROPPED]] = False
    return kept


@dataclass(frozen=True)
class LeafBatch:
    """One leaf."""

    leaf: int

    @property
    def id(self) -> str:
        return str(self.leaf)

    @property
    def cells(self) -> int:
        return 1

    def halves(self) -> None:
        """None: what a leaf decides hangs together."""

    def cell_ids(self) -> Iterator[str]:
        yield self.id


@dataclass(frozen=True, eq=False)
class LeafPlan:
    """Settle every leaf by itself."""

    spool: Spool
    threshold: float
    leaves: Leaves
    folder: Path

    @cached_property
    def id(self) -> str:
        """The folder is made for one run, so its name says which."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()

    @property
    def batch_count(self) -> int:
        return self.leaves.count

    @property
    def cell_count(self) -> int:
        return self.leaves.count

    def batches(self) -> Iterator[LeafBatch]:
        return (LeafBatch(leaf) for leaf in range(self.leaves.count))

    def hand_out(self) -> None:
        """Write the numbers of the features that touch each leaf."""
        (self.folder / "touching").mkdir(parents=True)
        boxes = self.spool.column("boxes")
        for start in range(0, self.spool.count, _BLOCK):
            touching = dict(self.leaves.meeting(np.asarray(boxes[start : start + _BLOCK])))
            rows = np.concatenate(list(touching.values()))
            wide = np.bincount(rows) > _WIDE
            self._append(_EVERYWHERE, start + np.flatnonzero(wide))
            for leaf, rows in touching.items():
                self._append(leaf, start + rows[~wide[rows]])

    def numbers(self, kind: str, leaf: int | str) -> np.ndarray:
        """Numbers of features of a leaf: ``touching``, ``dropped`` or ``open``."""
        file = self.folder / kind / str(leaf)
        return np.fromfile(file, np.int64) if file.exists() else np.zeros(0, np.int64)

    def touching(self, leaf: int) -> np.ndarray:
        """Numbers of all features that touch a leaf, ascending."""
        wide = self.numbers("touching", _EVERYWHERE)
        x1, y1, x2, y2 = self.leaves.rectangle(leaf)
        left, top, right, bottom = self.spool.column("boxes")[wide].T
        wide = wide[(left <= x2) & (top <= y2) & (right >= x1) & (bottom >= y1)]
        return np.sort(np.concatenate([self.numbers("touching", leaf), wide]))

    def _append(self, leaf: int | str, numbers: np.ndarray) -> None:
        if len(numbers):
            with (self.folder / "touching" / str(leaf)).open("ab") as file:
                numbers.astype(np.int64).tofile(file)


def settle_leaves(plan: LeafPlan, batch: LeafBatch) -> BatchResult:
    """Decide what one leaf can decide, and write down what is dropped and what is open. Safe to repeat."""
    started = time.perf_counter()
    numbers = plan.touching(batch.leaf)
    state, numbers = _settled(plan.spool, numbers, plan.threshold, plan.leaves.rectangle(batch.leaf))
    for kind, value in {"dropped": DROPPED, "open": OPEN}.items():
        Place.of(plan.folder / kind).write(batch.id, numbers[state == value].tobytes())
    return BatchResult(batch.id, 1, 0, time.perf_counter() - started)


def _settled(
    spool: Spool,
    numbers: np.ndarray,
    threshold: float,
    within: tuple[float, float, float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of some features, and their numbers, in the order of their rank.

    What reaches beyond ``within`` may meet others there.
    """
    numbers = numbers[np.argsort(-spool.column("scores")[numbers], kind="stable")]
    boxes, labels = spool.column("boxes")[numbers], spool.column("labels")[numbers]
    beyond = None
    if within is not None:
        x1, y1, x2, y2 = within
        beyond = (boxes[:, 0] < x1) | (boxes[:, 1] < y1) | (boxes[:, 2] > x2) | (boxes[:, 3] > y2)
    shapes = spool.shapes(numbers)
    return suppress_shapes(boxes, labels, threshold, shapes=shapes, unknown=beyond), numbers
