"""One machine's part of a cluster, looked after from the first process to the last."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from distributed import Security

from rasterloom.cluster.child import PARENT
from rasterloom.cluster.daemon_plan import NodeSettings, Process, check_node, plan_scheduler, plan_workers
from rasterloom.cluster.daemon_state import NodeState, read_state, remove_state, this_process, write_state
from rasterloom.cluster.drain import ask_scheduler, drain
from rasterloom.cluster.tls import read_security
from rasterloom.models.errors import ClusterError, SettingError

ANSWER_SECONDS = 5.0
"""How long a scheduler may take to answer."""

STOP_SECONDS = 15.0
"""How long processes may take to end, beside the work that is in flight."""

_LOOK_SECONDS = 0.2

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask for the end."""

_CHILD = ("-P", "-m", "rasterloom.cluster.daemon_child")
"""Without the current folder in the module path: a file in it could stand in for a library."""


def serve(settings: NodeSettings, *, on_ready: Callable[[NodeState], None], log: str = "") -> None:
    """Run a node in this process until SIGTERM, Ctrl-C, or until its scheduler or workers have ended.

    On the first signal the workers finish what they have begun, within ``settings.grace`` seconds, and what
    waits goes to other workers; a second signal ends everything at once. To be called in the main thread.

    Parameters
    ----------
    on_ready
        Called once the scheduler answers and the workers have joined it.
    log
        Where the output goes, for the state file.

    Raises
    ------
    SettingError
        If a setting cannot work, the name is taken, or it would be open to others.
    ClusterError
        If a process ends that should not.
    """
    check_node(settings)
    if settings.name is not None:
        check_free(settings.name)
    with _signals() as signals, tempfile.TemporaryDirectory(prefix="rasterloom-node-") as folder:
        node = _Node(settings, Path(folder), signals, log)
        try:
            if node.start():
                on_ready(node.state)
                node.watch()
        finally:
            node.end()


def check_free(name: str) -> None:
    """Raise SettingError where a node of this name runs."""
    state = read_state(name)
    if state is not None:
        raise SettingError(
            f"a cluster called {name!r} runs already on {state.host}: "
            f"'rasterloom cluster stop --name {name}' ends it, and another --name starts one beside it."
        )


class _Signals:
    """How often this process was asked to end."""

    def __init__(self) -> None:
        self.count = 0
        self._came = threading.Event()

    def take(self, *_: object) -> None:
        self.count += 1
        self._came.set()

    def wait(self, seconds: float) -> bool:
        """Wait; whether the end was asked for, now or before."""
        return self._came.wait(seconds)


@contextmanager
def _signals() -> Iterator[_Signals]:
    signals = _Signals()
    before = {which: signal.signal(which, signals.take) for which in _ENDING}
    try:
        yield signals
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


class _Node:
    """The processes of one node, from the first to the last."""

    def __init__(self, settings: NodeSettings, folder: Path, signals: _Signals, log: str) -> None:
        self._settings, self._folder, self._signals = settings, folder, signals
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._names: tuple[str, ...] = ()
        self._told = ""
        self._security: Security | None = read_security(settings.tls, None)
        name = settings.name or f"node-{os.getpid()}"
        self.state = this_process(
            name, settings.role, grace=settings.grace, tls=str(settings.tls or ""), log=log
        )

    def start(self) -> bool:
        """Start everything and wait for it; False if the end was asked for in the meantime."""
        self._tell()
        if self._settings.role == "worker":
            address = str(self._settings.join)
            if not self._wait_for(lambda: self._reached(address)):
                return False
        else:
            file = self._folder / "scheduler.json"
            self._scheduler = self._start(plan_scheduler(self._settings, file))
            if not self._wait_for(file.exists):
                return False
            address = self._read_scheduler(file)
        self._tell(address=address)
        if self._settings.role != "scheduler" and not self._start_workers(address):
            return False
        self._tell(ready=True)
        return True

    def watch(self) -> None:
        """Wait until the end is asked for, or until all processes have ended as they should."""
        while self._scheduler or self._workers:
            if self._signals.wait(_LOOK_SECONDS):
                return
            self._check()
            if all(process.poll() == 0 for process in self._processes()):
                self._say("all has ended: the scheduler was closed, or the workers were retired")
                return

    def end(self) -> None:
        """End every process, the workers first and gently."""
        asked = self._signals.count
        if asked and self._names and self.state.address:
            self._drain(asked)
        self._end(self._workers)
        self._end([self._scheduler] if self._scheduler else [])
        if self._settings.name is not None:
            remove_state(self.state)

    def _start_workers(self, address: str) -> bool:
        prefix = f"{socket.gethostname()}-{os.getpid()}"
        plan = plan_workers(self._settings, address, prefix)
        self._names = tuple(name for process in plan for name in process.workers)
        self._workers = [self._start(process) for process in plan]
        self._tell(workers=len(self._names))

        def joined() -> bool:
            try:
                present = self._ask(address)["workers"].values()
            except OSError:
                return False
            return set(self._names) <= {str(worker["name"]) for worker in present}

        return self._wait_for(joined)

    def _start(self, process: Process) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, *_CHILD, *process.words],
            env={**os.environ, **process.environment, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others in order
        )

    def _processes(self) -> "list[subprocess.Popen[bytes]]":
        return [*([self._scheduler] if self._scheduler else []), *self._workers]

    def _wait_for(self, there: Callable[[], bool]) -> bool:
        while not there():
            if self._signals.wait(_LOOK_SECONDS):
                return False
            self._check()
        return True

    def _check(self) -> None:
        for process in self._processes():
            if process.poll():
                what = "scheduler" if process is self._scheduler else "workers"
                raise ClusterError(
                    f"the process of the {what} ended with {process.returncode}, and so does the rest. "
                    "What it printed stands above; a port that is taken (--port 0 takes a free one) and too "
                    "little memory are the usual causes."
                )

    def _ask(self, address: str) -> dict[str, Any]:
        return ask_scheduler(address, self._security, ANSWER_SECONDS)

    def _reached(self, address: str) -> bool:
        """Whether the scheduler answers; the reason why it does not is told once."""
        try:
            self._ask(address)
        except OSError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._say(f"no scheduler answers at {address} yet, and is waited for ({error})")
            return False
        return True

    def _read_scheduler(self, file: Path) -> str:
        while True:  # it exists a moment before it is whole
            with suppress(ValueError):
                told = json.loads(file.read_text())
                break
            time.sleep(0.01)
        port = told["services"].get("dashboard")
        self._tell(dashboard=f"http://127.0.0.1:{port}/status" if port else "")
        return str(told["address"])

    def _tell(self, **news: Any) -> None:
        groups = tuple(process.pid for process in self._processes())
        self.state = replace(self.state, groups=groups, **news)
        if self._settings.name is not None:
            write_state(self.state)

    def _say(self, message: str) -> None:
        print(f"rasterloom: {message}", file=sys.stderr, flush=True)

    def _drain(self, asked: int) -> None:
        """Let the workers finish, unless another signal comes or they answer no more."""
        self._say(
            f"ending {len(self._names)} workers: what they have begun may take {self._settings.grace:g} s"
        )
        outcome: list[int | OSError] = []

        def run() -> None:
            try:
                outcome.append(drain(self.state.address, self._security, self._names, self._settings.grace))
            except OSError as error:  # the scheduler is gone: there is nothing to finish
                outcome.append(error)

        work = threading.Thread(target=run, name="drain", daemon=True)
        work.start()
        deadline = time.monotonic() + self._settings.grace + STOP_SECONDS
        while work.is_alive() and self._signals.count == asked and time.monotonic() < deadline:
            work.join(_LOOK_SECONDS)
        if outcome and isinstance(outcome[0], int) and outcome[0]:
            self._say(f"{outcome[0]} tasks were cut off; the scheduler gives them to other workers")

    def _end(self, processes: "list[subprocess.Popen[bytes]]") -> None:
        """End processes that may have ended by themselves already; none is left."""
        drained = bool(self._signals.count == 1 and processes is self._workers)
        if drained:  # they close by themselves
            _wait_all(processes, 5.0)
        for process in processes:
            if process.poll() is None:
                process.terminate()
        _wait_all(processes, STOP_SECONDS)
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_all(processes: "list[subprocess.Popen[bytes]]", seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
