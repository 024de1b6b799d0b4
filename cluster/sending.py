"""Send a package once to each worker process, through plugins that the scheduler keeps for late workers."""

import hashlib
from pathlib import Path
from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin, Worker, WorkerPlugin

from rasterloom.cluster.delivery import SENT
from rasterloom.models.errors import PackageError

KEPT_SECONDS = 60.0
"""How long the workers keep what a lost client has sent: it may come back after a break in the network."""

_FOLDER = "rasterloom-models"


def send(client: Client, name: str, content: bytes) -> None:
    """Bring ``content`` to all workers of a client, now and later, under a name that ends with its hash.

    Nothing is sent that was sent before. The scheduler holds the content once; when the client has been gone
    for a minute, it forgets it and the workers remove their files.
    """
    client.register_plugin(Delivery(name, content), name=name)
    try:
        client.register_plugin(Sweeper(KEPT_SECONDS), name="rasterloom-models")
    except ImportError:
        return  # a scheduler without rasterloom keeps the content until it ends


class Delivery(WorkerPlugin):
    """Puts a package into a worker's own folder."""

    idempotent = True

    def __init__(self, name: str, content: bytes) -> None:
        self._name, self._content = name, content
        self.path: Path | None = None
        """Where the package is, on a worker that has received it."""

    def setup(self, worker: Worker) -> None:
        """Write it where no other user can read or change it."""
        _, owner, name = self._name.rsplit("/", 2)
        if f"model-{hashlib.sha256(self._content).hexdigest()}.dlpk" != name:
            raise PackageError(f"{name} is refused: it has been changed on its way to {worker.address}.")
        folder = Path(worker.local_directory) / _FOLDER / owner
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(self._content)
        self.path, self._content = path, b""

    def teardown(self, worker: Worker) -> None:
        """Remove it."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Sweeper(SchedulerPlugin):
    """Forgets, on the scheduler, what clients have sent that are gone."""

    idempotent = True

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Forget what the client has sent, unless it comes back."""
        if any(_is_from(client, name) for name in scheduler.worker_plugins):
            scheduler.loop.call_later(self._seconds, _sweep, scheduler, client)


async def _sweep(scheduler: Any, client: str) -> None:
    if client in scheduler.clients or scheduler.status.name != "running":
        return
    for name in [name for name in scheduler.worker_plugins if _is_from(client, name)]:
        await scheduler.unregister_worker_plugin(comm=None, name=name)


def _is_from(client: str, name: str) -> bool:
    return name.startswith(f"{SENT}{client}/")
