"""A cluster whose scheduler and workers are commands of their own, closed to who has no key."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rasterloom.cluster.certificates import make_authority, make_node

COMMAND = [sys.executable, "-c", "from rasterloom.pipeline.cli.main import main; main()", "cluster", "start"]


@dataclass
class Started:
    """A ``rasterloom cluster start --foreground`` and what it prints."""

    process: "subprocess.Popen[str]"
    log: Path

    def wait_for(self, word: str) -> str:
        """The rest of the first line that begins with a word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).split()[0]
        pytest.fail(f"ended without saying {word!r}:\n{self.log.read_text()}")

    def end(self, which: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(which)
        return self.process.wait(60)


@dataclass
class Fleet:
    """A scheduler and two workers, each started by a command of its own."""

    address: str
    keys: Path
    scheduler: Started
    workers: list[Started]


@contextlib.contextmanager
def started_fleet(folder: Path) -> Iterator[Fleet]:
    """A scheduler and two workers of one process each that talk TLS; keys and logs are in a folder."""
    make_authority(folder)
    for node in ("scheduler", "worker", "client"):
        make_node(folder, node)
    started: list[Started] = []

    def start(name: str, *words: str) -> Started:
        log = folder / f"{name}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*COMMAND, "--foreground", "--grace", "20", *words],
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env=os.environ | {"XDG_STATE_HOME": str(folder)},
            )
        started.append(Started(process, log))
        return started[-1]

    try:
        scheduler = start(
            "scheduler",
            *("--role", "scheduler", "--port", "0", "--dashboard-port", "0"),
            *("--tls", str(folder / "scheduler")),
        )
        address = scheduler.wait_for("scheduler")
        join = ("--role", "worker", "--join", address, "--n-workers", "1", "--gpus", "none")
        workers = [start(f"worker-{i}", *join, "--tls", str(folder / "worker")) for i in range(2)]
        for worker in workers:
            worker.wait_for("workers")
        yield Fleet(address, folder / "client", scheduler, workers)
    finally:
        for one in reversed(started):
            one.process.terminate()
        for one in reversed(started):
            one.process.wait(60)
            if one.process.stdout is not None:
                one.process.stdout.close()
