"""Who does the work of a run: what the driver asks of them, and the crew of threads in this process."""

import os
import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from rasterloom.cluster.jobs import Batch, BatchResult, RunBatch
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.threads import share

T = TypeVar("T")

WAIT_SECONDS = 1.0
"""How long a crew waits for news before it lets the driver look around."""

_LOCAL_THREADS = 4
"""Threads of this process by default: one computes, the others read, decode and write."""


@dataclass(frozen=True)
class Outcome:
    """How one task ended: with a result or with an error."""

    ticket: int
    """Number under which the task was submitted."""
    result: BatchResult | None
    error: BaseException | None


class Crew(Protocol):
    """Takes batches and gives back outcomes, in any order, each once."""

    def threads(self) -> int:
        """Batches that can be computed at the same time, now."""

    def workers(self) -> int:
        """Worker processes seen so far at once; 0 for this process."""

    def submit(self, ticket: int, batch: Batch) -> None:
        """Begin a task. ``ticket`` is never used twice."""

    def wait(self) -> Sequence[Outcome]:
        """Block until a task ends, at most WAIT_SECONDS; then all that have ended.

        Raises
        ------
        CrewLost
            If nobody is left to do the work.
        """

    def close(self) -> None:
        """Cancel what has not begun."""


def run_marked(run_batch: RunBatch, plan: Any, batch: Batch, folder: Place) -> BatchResult:
    """Compute ``batch`` and leave its marker, on the worker, as soon as its outputs are written.

    A batch that is marked already is not computed again: it was finished by a worker that was lost before it
    could report.
    """
    markers = RunFolder(folder)
    if (known := markers.result(batch)) is not None:
        return known
    result = run_batch(plan, batch)
    assert result.batch == batch.id, f"run_batch reported {result.batch!r} for batch {batch.id!r}"
    markers.mark(result)
    return result


class ThreadCrew:
    """Threads of this process."""

    def __init__(self, plan: Any, run_batch: RunBatch, folder: Place, threads: int | None = None) -> None:
        self._work = partial(run_marked, run_batch, plan)
        self._folder = folder
        self._threads = threads or min(len(os.sched_getaffinity(0)), _LOCAL_THREADS)
        self._pool = ThreadPoolExecutor(
            self._threads, thread_name_prefix="rasterloom", initializer=share, initargs=(self._threads,)
        )
        self._ended: queue.SimpleQueue[tuple[int, Future[BatchResult]]] = queue.SimpleQueue()

    def threads(self) -> int:
        return self._threads

    def workers(self) -> int:
        return 0

    def submit(self, ticket: int, batch: Batch) -> None:
        future = self._pool.submit(self._work, batch, self._folder)
        future.add_done_callback(lambda ended: self._ended.put((ticket, ended)))

    def wait(self) -> Sequence[Outcome]:
        return [_outcome(ticket, future) for ticket, future in take_all(self._ended, WAIT_SECONDS)]

    def close(self) -> None:
        """Cancel what has not begun and wait for what has, so that no thread writes after the run."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def take_all(source: "queue.SimpleQueue[T]", seconds: float) -> list[T]:
    """Everything in the queue, after waiting at most ``seconds`` for the first item."""
    items: list[T] = []
    try:
        items.append(source.get(timeout=seconds))
        while True:
            items.append(source.get_nowait())
    except queue.Empty:
        return items


def _outcome(ticket: int, future: "Future[BatchResult]") -> Outcome:
    error = future.exception()
    return Outcome(ticket, None if error else future.result(), error)
