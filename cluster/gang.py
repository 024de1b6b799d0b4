"""Processes that work together and fail together, one beside each of some workers of a Dask cluster.

Each rank is a child process of a worker: what it does to itself, a lost connection or a killed process, does
not touch the worker, and it may start processes of its own. It finds the variables that torchrun sets.
"""

import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil
from distributed import Client, Future, get_worker, wait

from rasterloom.cluster.child import Ending, run_child
from rasterloom.cluster.failures import CrewLost
from rasterloom.cluster.seats import Seat, seats_for
from rasterloom.models.errors import ClusterError

REFUSED = 64
"""Exit status of a rank whose error every attempt would meet; on standard output it said which."""
LOST_PEER = 65
"""Exit status of a rank that ends because another one has."""

RESTARTS = 2
"""How often a gang is started again."""

_LOOK_SECONDS = 0.2
_WORKERS_SECONDS = 2.0
"""How often it is looked whether the workers are there."""
_BLAME_SECONDS = 1.0
"""After the first rank that fails the others get this long to tell more of it."""
_STOP_SECONDS = 20.0
_RETURN_SECONDS = 60.0
"""How long a restart waits for lost workers to come back."""

_log = logging.getLogger(__name__)
_unwanted: set[str] = set()
"""Names of attempts that ranks on this worker should end for."""


class RankRefused(Exception):
    """A rank ended for an error that every attempt would meet; the text is what it said."""


@dataclass(frozen=True)
class _Failure:
    """A rank that ended before its work was done."""

    seat: Seat
    ending: Ending | None
    """None if the worker was lost, or the task failed."""
    reason: str = ""

    @property
    def priority(self) -> int:
        """The lowest is the one to blame: what ends for the end of another says so, or says nothing."""
        if self.ending is None or self.ending.code is None:
            return 1
        return {REFUSED: 0, LOST_PEER: 3}.get(self.ending.code, 1 if self.ending.code < 0 else 2)

    def __str__(self) -> str:
        where = f"rank {self.seat.rank} on worker {self.seat.worker}"
        if self.ending is None or self.ending.code is None:
            return f"{where} was lost: {self.reason or 'it was stopped'}."
        code = self.ending.code
        if code == -signal.SIGKILL:
            how = "was killed (SIGKILL), as happens where memory is short"
        elif code < 0:
            how = f"was killed by signal {-code}"
        else:
            how = f"ended with status {code}"
        return f"{where} {how}. Its last words:\n{self.ending.tail or '(none)'}"


def run_gang(
    client: Client,
    command: Callable[[int], Sequence[str]],
    seats: Sequence[Seat],
    *,
    restarts: int = RESTARTS,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Run a Python module once beside each worker, all at the same time, until all have done their work.

    If one of them fails or its worker is lost, the others are stopped and all are started again; on other
    workers where the first ones do not come back. Whatever happens, none is left when this returns.

    Parameters
    ----------
    command
        Arguments of Python for an attempt, which is 0 for the first: ``["-m", module, ...]``.
    restarts
        How often to start again.
    meanwhile
        Called a few times a second.

    Raises
    ------
    RankRefused
        If a rank ends with the status ``REFUSED``. It is not started again.
    ClusterError
        If a rank fails once more than there are restarts; it names rank and worker, and quotes the rank.
    CrewLost
        If the connection to the cluster is lost.
    """
    for attempt in range(restarts + 1):
        failure = _Attempt(client, list(command(attempt)), seats).run(meanwhile)
        if failure is None:
            return
        if failure.ending is not None and failure.ending.code == REFUSED:
            raise RankRefused(failure.ending.said)
        if attempt == restarts:
            raise ClusterError(f"all attempts failed, {attempt + 1} of them; at last {failure}")
        _log.warning("%s\nAll %d ranks are started again.", failure, len(seats))
        seats = _returned(client, len(seats))


class _Attempt:
    """All ranks, started once."""

    def __init__(self, client: Client, command: list[str], seats: Sequence[Seat]) -> None:
        self._client, self._command, self._seats = client, command, list(seats)
        self._name = uuid.uuid4().hex
        self._futures: dict[Seat, Future] = {}
        self._lost: set[str] = set()
        self._next_look = 0.0

    def run(self, meanwhile: Callable[[], None]) -> _Failure | None:
        """None if every rank ended well, else the failure that the others followed from."""
        try:
            self._start()
            failures = self._first_failures(meanwhile)
            if not failures:
                return None
            deadline = time.monotonic() + _BLAME_SECONDS
            while time.monotonic() < deadline and len(failures) < len(self._seats):
                time.sleep(_LOOK_SECONDS / 4)
                failures = self._failures()
            return min(failures, key=lambda failure: (failure.priority, failure.seat.rank))
        finally:
            self._stop()

    def _start(self) -> None:
        first = self._seats[0].worker
        port = self._client.run(_free_port, _host(first), workers=[first], on_error="return").get(first)
        if not isinstance(port, int):
            raise ClusterError(f"worker {first} has no free port for the other ranks to meet at: {port!r}.")
        for seat in self._seats:
            variables = {
                "MASTER_ADDR": _host(first),
                "MASTER_PORT": str(port),
                "RANK": str(seat.rank),
                "WORLD_SIZE": str(len(self._seats)),
                "LOCAL_RANK": str(seat.device),
            }
            self._futures[seat] = self._client.submit(
                _hold,
                self._name,
                self._command,
                variables,
                key=f"rasterloom-rank-{seat.rank}-{self._name}",
                workers=[seat.worker],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )

    def _first_failures(self, meanwhile: Callable[[], None]) -> list[_Failure]:
        while not (failures := self._failures()) and not all(f.done() for f in self._futures.values()):
            if self._client.status != "running":
                raise CrewLost("the connection to the scheduler was lost")
            meanwhile()
            time.sleep(_LOOK_SECONDS)
        return failures

    def _failures(self) -> list[_Failure]:
        self._look_for_workers()
        failures = [self._failure(seat, future) for seat, future in self._futures.items()]
        return [failure for failure in failures if failure is not None]

    def _look_for_workers(self) -> None:
        if time.monotonic() < self._next_look or self._client.status != "running":
            return
        self._next_look = time.monotonic() + _WORKERS_SECONDS
        present = self._client.scheduler_info(n_workers=-1)["workers"]
        self._lost = {seat.worker for seat in self._seats} - set(present)

    def _failure(self, seat: Seat, future: Future) -> _Failure | None:
        if not future.done():
            return _Failure(seat, None, "its worker left the cluster") if seat.worker in self._lost else None
        if future.status != "finished":
            error = future.exception() if future.status == "error" else "its task was cancelled"
            return _Failure(seat, None, f"{error}")
        ending: Ending = future.result()
        return None if ending.code == 0 else _Failure(seat, ending)

    def _stop(self) -> None:
        """End every rank that still runs, and wait for it."""
        if self._client.status != "running" or not self._futures:
            return
        self._next_look = 0.0
        self._look_for_workers()  # one that is gone holds no rank, and would not answer
        running = [
            s for s, future in self._futures.items() if not future.done() and s.worker not in self._lost
        ]
        if running:
            with suppress(OSError, ValueError):
                workers = [seat.worker for seat in running]
                self._client.run(_stop_ranks, self._name, workers=workers, on_error="ignore")
            with suppress(TimeoutError):
                wait([self._futures[seat] for seat in running], timeout=_STOP_SECONDS)
        self._client.cancel(list(self._futures.values()), force=True)


def _returned(client: Client, ranks: int) -> list[Seat]:
    """Seats for another attempt: as many as before, or as many as there are workers after a while."""
    deadline = time.monotonic() + _RETURN_SECONDS
    while client.status == "running":
        present = len(client.scheduler_info(n_workers=-1)["workers"])
        if present >= ranks or (present and time.monotonic() > deadline):
            return seats_for(client, min(ranks, present))
        if time.monotonic() > deadline:
            raise ClusterError(f"all workers were lost, and none came back within {_RETURN_SECONDS:.0f} s.")
        time.sleep(_LOOK_SECONDS)
    raise CrewLost("the connection to the scheduler was lost")


# What runs on a worker


def _hold(name: str, command: list[str], variables: Mapping[str, str]) -> Ending:
    """Run one rank beside this worker; it ends with the task, however that ends."""
    worker = get_worker()
    key = worker.get_current_task()

    def unwanted() -> bool:
        # a task that its client dropped, or whose client is gone, is not told so: its state says it
        task = worker.state.tasks.get(key)
        dropped = task is None or task.state in ("cancelled", "released", "forgotten")
        return name in _unwanted or dropped or worker.status.name in ("closing", "closed", "failed")

    try:
        return run_child(
            [sys.executable, *command], _environment(worker.address, variables), unwanted=unwanted
        )
    finally:
        _unwanted.discard(name)


def _stop_ranks(name: str) -> None:
    _unwanted.add(name)


def _environment(address: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The worker's variables, its module path, and the network card that the cluster speaks through."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - a string is wanted
    card = _network_card(_host(address))
    cards = {name: card for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if card}
    return {**cards, **os.environ, "PYTHONPATH": path, **variables}


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _host(address: str) -> str:
    """Host of a worker's address; workers in the client's process have none."""
    parts = urlsplit(address)
    return "127.0.0.1" if parts.scheme == "inproc" else parts.hostname or "127.0.0.1"


def _network_card(host: str) -> str | None:
    for card, addresses in psutil.net_if_addrs().items():
        if any(entry.address == host for entry in addresses):
            return str(card)
    return None
