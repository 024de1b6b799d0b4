"""Make a run wait for what a test does to its cluster, and see who computed what."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin

Events = list[tuple[float, Callable[[], Any]]]
"""What happens at which share of the cells."""

WAIT_SECONDS = 240.0
"""Long, because machines are busy; no test takes as long that passes."""


class Gate(WorkerPlugin):
    """Lets batches begin only while a gate is open, and notes which process began one after which event.

    The gate is a file that all workers see: it stands there while the gate is closed.
    """

    name = "gate"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, worker: Worker) -> None:
        from rasterloom.cluster import workers

        self.through = workers.run_marked

        def wait_and_run(*given: Any) -> Any:
            pass_gate(self.folder)
            return self.through(*given)

        workers.run_marked = wait_and_run

    def teardown(self, worker: Worker) -> None:
        from rasterloom.cluster import workers

        workers.run_marked = self.through


def pass_gate(folder: Path) -> None:
    """Wait until the gate is open, and leave a note of this process."""
    end = time.monotonic() + WAIT_SECONDS
    while (folder / "closed").exists():
        assert time.monotonic() < end, "the gate stays closed"
        time.sleep(0.01)
    events = len(list(folder.glob("event-*")))
    (folder / f"began-{events}-{os.getpid()}").touch()


def began(folder: Path, events: int) -> set[int]:
    """Processes that began a batch when so many events had happened."""
    return {int(path.name.split("-")[2]) for path in folder.glob(f"began-{events}-*")}


@contextmanager
def happening(output: Path, cells: int, folder: Path, events: Events) -> Iterator[None]:
    """Let events happen during the run that writes ``output``: each when its share of the cells is marked.

    No batch begins while one happens. What an event raises is raised at the end; so is an AssertionError if
    the run ended before all had happened.
    """
    errors: list[BaseException] = []
    over = threading.Event()

    def watch() -> None:
        for number, (share, happen) in enumerate(events, start=1):
            while len(list(output.parent.glob("_run/*/done/[!.]*.json"))) < share * cells:
                if over.wait(0.005):
                    return
            (folder / "closed").touch()
            try:
                happen()
            except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
                errors.append(error)
            (folder / f"event-{number}").touch()
            (folder / "closed").unlink()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    if errors:
        raise errors[0]
    assert len(list(folder.glob("event-*"))) == len(events), "the run ended before all events"
