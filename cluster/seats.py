"""Where the ranks of a gang sit: one beside each of some workers of a Dask cluster."""

import os
import socket
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from rasterloom.models.errors import ClusterError, SettingError


@dataclass(frozen=True)
class Seat:
    """Where a rank works."""

    rank: int
    worker: str
    """Address of the worker that holds it."""
    device: int
    """Number among the GPUs that the worker sees: ranks whose workers see the same ones take one each."""


def check_client(client: Any) -> None:
    """Refuse what cannot hold a gang.

    Raises
    ------
    SettingError
        If it is no Dask client, or an asynchronous one.
    """
    if not isinstance(client, Client):
        raise SettingError(
            f"client={client!r} is no Dask client: use rasterloom.cluster.connect(), or None "
            "for this process."
        )
    if client.asynchronous:
        raise SettingError("client is asynchronous, and this blocks: use a Client(asynchronous=False).")


def seats_for(client: Client, ranks: int | None) -> list[Seat]:
    """A place for each rank, each on a worker process of its own.

    Parameters
    ----------
    ranks
        Number of ranks; None is one on each worker.

    Raises
    ------
    SettingError
        If there are fewer workers.
    ClusterError
        If there are none.
    """
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])
    if not workers:
        raise ClusterError("the cluster has no workers: start some, or leave out client for this process.")
    count = len(workers) if ranks is None else ranks
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(workers):
        raise SettingError(
            f"ranks={ranks!r} cannot work: the cluster has {len(workers)} worker processes and each holds "
            f"one rank, so use 1 to {len(workers)}."
        )
    chosen = workers[:count]
    seen = client.run(_visible_devices, workers=chosen)
    taken: Counter[Any] = Counter()
    seats = []
    for rank, worker in enumerate(chosen):
        seats.append(Seat(rank, worker, taken[seen[worker]]))
        taken[seen[worker]] += 1
    return seats


def check_shared(client: Client, seats: Sequence[Seat], folder: Path) -> None:
    """Make sure that every worker can read and write in a folder of this process.

    Raises
    ------
    ClusterError
        If one cannot; it names the worker.
    """
    token = uuid.uuid4().hex
    note = folder / f".probe-{token}"
    note.write_text(token, encoding="utf-8")
    workers = [seat.worker for seat in seats]
    try:
        found = client.run(_try_folder, str(folder), token, workers=workers, on_error="return")
    finally:
        for path in folder.glob(f".probe-{token}*"):
            path.unlink(missing_ok=True)
    for worker in workers:
        if found.get(worker) != "":
            raise ClusterError(
                f"worker {worker} cannot use the folder {folder} ({found.get(worker)}): give prepare_data a "
                "working_dir that is on a disk of all machines, under the same path and writable for all."
            )


def _visible_devices() -> tuple[str, str]:
    return socket.gethostname(), os.environ.get("CUDA_VISIBLE_DEVICES", "")


def _try_folder(folder: str, token: str) -> str:
    """Empty if the note of the client can be read here and one can be written beside it."""
    note = Path(folder) / f".probe-{token}"
    try:
        if note.read_text(encoding="utf-8") != token:
            return "it holds something else there"
        note.with_name(f"{note.name}-{os.getpid()}").touch()
    except OSError as error:
        return f"{type(error).__name__}: {error.strerror}"
    return ""
