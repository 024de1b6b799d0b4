"""The crew of a Dask cluster: batches go out as futures, and little else is known about Dask."""

import asyncio
import queue
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import lru_cache
from typing import Any

from distributed import Client, Future, KilledWorker, get_worker
from distributed.protocol.pickle import dumps, loads
from distributed.scheduler import NoWorkerError

from rasterloom.cluster.crew import WAIT_SECONDS, Outcome, run_marked, take_all
from rasterloom.cluster.failures import CrewLost, WorkerDied
from rasterloom.cluster.jobs import Batch, BatchResult, RunBatch
from rasterloom.cluster.places import Place
from rasterloom.cluster.threads import share
from rasterloom.models.errors import SettingError

NO_WORKERS_SECONDS = 600.0
"""How long a run waits for workers while there are none: spot and adaptive ones take their time."""

_LOOK_SECONDS = 2.0
"""How often the number of workers is asked for."""


class ClusterCrew:
    """The workers of a Dask cluster, whoever they are at the time.

    Job and batches travel as bytes, so the scheduler never imports what they are made of. A future is dropped
    as soon as its outcome is known, which frees the scheduler of it.
    """

    def __init__(
        self, client: Client, plan: Any, run_batch: RunBatch, folder: Place, threads: int | None = None
    ) -> None:
        if not isinstance(client, Client):
            raise SettingError(
                f"client={client!r} is no Dask client: use rasterloom.cluster.connect(), "
                "or None for this process."
            )
        if client.asynchronous:
            raise SettingError("client is asynchronous, and a run blocks: use a Client(asynchronous=False).")
        self._client = client
        self._job = bytes(dumps((run_batch, plan, folder)))
        self._name = f"rasterloom-batch-{uuid.uuid4().hex}"
        self._futures: dict[int, Future] = {}
        self._ended: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._fixed_threads = threads
        self._threads = self._workers = self._most_workers = 0
        self._next_look = 0.0
        self._seen_workers = time.monotonic()

    def threads(self) -> int:
        self._look_around()
        return self._fixed_threads or max(self._threads, 1)

    def workers(self) -> int:
        return self._most_workers

    def submit(self, ticket: int, batch: Batch) -> None:
        # A key of its own for each attempt: an old attempt that still runs somewhere cannot answer for the
        # new one.
        key = (self._name, ticket)
        future = self._client.submit(_work, self._job, bytes(dumps(batch)), key=key, pure=False)
        self._futures[ticket] = future
        # Each outcome is fetched on its own: one that is lost with its worker holds up no other.
        self._client.loop.add_callback(self._fetch, ticket, future)

    def wait(self) -> Sequence[Outcome]:
        ended = take_all(self._ended, WAIT_SECONDS)
        for ticket, _ in ended:
            self._futures.pop(ticket).release()
        self._check_alive()
        for _, value in ended:
            if isinstance(value, NoWorkerError):  # another attempt at the batch would not help
                raise CrewLost(
                    f"the cluster has had no workers for {value.timeout:.0f} seconds, as long as its "
                    "scheduler waits: distributed.scheduler.no-workers-timeout"
                )
        return [_outcome(ticket, value) for ticket, value in ended]

    def close(self) -> None:
        """Cancel what has not begun. What runs on a worker ends there, and its marker counts."""
        if self._futures and self._client.status == "running":
            self._client.cancel(list(self._futures.values()), force=True)
        self._futures.clear()

    async def _fetch(self, ticket: int, future: Future) -> None:
        values: Any = await asyncio.gather(future, return_exceptions=True)
        self._ended.put((ticket, values[0]))

    def _look_around(self) -> None:
        now = time.monotonic()
        if now < self._next_look or self._client.status != "running":
            return
        info = self._client.scheduler_info(n_workers=0)
        self._threads, self._workers = info.get("total_threads", 0), info.get("n_workers", 0)
        self._most_workers = max(self._most_workers, self._workers)
        self._next_look = now + _LOOK_SECONDS
        if self._workers:
            self._seen_workers = now

    def _check_alive(self) -> None:
        if self._client.status != "running":
            raise CrewLost("the connection to the scheduler was lost")
        self._look_around()
        waited = time.monotonic() - self._seen_workers
        if not self._workers and waited > NO_WORKERS_SECONDS:
            raise CrewLost(f"the cluster has had no workers for {waited:.0f} seconds")


def _work(job: bytes, batch: bytes) -> BatchResult:
    run_batch, plan, folder = _unpacked(job)
    share(get_worker().state.nthreads)
    return run_marked(run_batch, plan, loads(batch), folder)


@lru_cache(maxsize=4)  # a worker may serve several runs at once
def _unpacked(job: bytes) -> tuple[RunBatch, Any, Place]:
    run_batch, plan, folder = loads(job)
    return run_batch, plan, folder


def _outcome(ticket: int, value: Any) -> Outcome:
    if isinstance(value, BatchResult):
        return Outcome(ticket, value, None)
    if isinstance(value, KilledWorker):
        return Outcome(
            ticket,
            None,
            WorkerDied("Every worker that computed it died: it crashed, was killed, or ran out of memory."),
        )
    if isinstance(value, CancelledError | asyncio.CancelledError):
        return Outcome(ticket, None, WorkerDied("The cluster dropped it."))
    if isinstance(value, BaseException):
        return Outcome(ticket, None, value)
    return Outcome(ticket, None, TypeError(f"run_batch returned {type(value).__name__}, not a BatchResult"))
