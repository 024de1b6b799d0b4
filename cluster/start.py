"""Connects to a Dask cluster, or starts one on this machine."""

import json
import os
import select
import socket
import subprocess
import sys
from typing import Any

import distributed
from dask.system import CPU_COUNT
from dask.utils import parse_bytes
from distributed import Client
from distributed.system import MEMORY_LIMIT

from rasterloom.cluster.hub import BOOT
from rasterloom.models.errors import ClusterError, SettingError

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer."""

_START_SECONDS = 120.0
"""How long a local cluster may take to start on a busy machine."""

_STOP_SECONDS = 15.0

_DASHBOARD_PORT = 8787

_WORKER_BYTES = 2e9
"""Memory that a worker with a model and its buffers should find; fewer workers start where there is less."""

_CONFIG = {
    # One task more than threads waits at each worker, so that none is idle for a round trip.
    "distributed.scheduler.worker-saturation": 1.1,
    # A task that was on two dying workers goes back to the driver, which cuts it; dask's own three more
    # attempts at the whole would only kill more workers.
    "distributed.scheduler.allowed-failures": 1,
    # A worker that dies is started again, which takes its time on a busy machine. After 15 s, the default,
    # dask would take it for gone and end the process that starts it, until none is left.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}

_QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}
"""What a run needs to know about lost workers and failed tasks, its driver reports."""


def connect(
    target: str | None = None,
    *,
    n_workers: int | None = None,
    threads_per_worker: int | None = None,
    memory_limit: str | int = "auto",
    dashboard: bool = True,
) -> Client:
    """Return a client of a Dask cluster; closing it closes what this call started, and nothing else.

    Use it as ``with connect() as client:``. Without a target and without worker settings it joins the cluster
    of the current client, if there is one. Otherwise it starts a cluster on this machine whose scheduler,
    workers and dashboard listen on 127.0.0.1 only and end with this process. No main guard is needed in
    scripts.

    The default is one worker per core, each with one thread and one torch thread. Measured on two busy cores
    (U-Net resnet18, 256 px, batches of 4): 130 ms of CPU per tile with one torch thread, 250 to 360 ms with
    two, which wait for each other by spinning.

    Parameters
    ----------
    target
        Address of a running scheduler, "tcp://host:8786" or "tls://host:8786"; None as above.
    n_workers
        Worker processes to start. Torch and its like use cores // n_workers threads in each.
    threads_per_worker
        Batches that a worker computes at the same time, 1 by default.
    memory_limit
        Memory at which a worker is restarted, in bytes or as "4 GB"; "auto" shares the machine's.
    dashboard
        Whether the scheduler serves its pages: on port 8787, or on a free one where that is taken.

    Raises
    ------
    SettingError
        If a setting cannot work, or workers are asked for on a cluster that runs already.
    ClusterError
        If nothing answers at the address within 10 s, or the local cluster does not start.
    """
    local = n_workers is not None or threads_per_worker is not None
    if target is not None:
        _check_target(target, local)
        return _join(target)
    if not local and (current := default_client()) is not None:
        return _join(current.scheduler.address, security=current.security)
    threads = 1 if threads_per_worker is None else threads_per_worker
    return _LocalClient(_start(_workers(n_workers), threads, _limit(memory_limit), dashboard))


def default_client() -> Client | None:
    """Return the client that was connected last and is still open, or None.

    Raises
    ------
    SettingError
        If it is asynchronous: a run blocks.
    """
    try:
        client = distributed.default_client()
    except ValueError:
        return None
    if client.asynchronous:
        raise SettingError(
            "The current Dask client is asynchronous, and rasterloom's calls block: "
            "close it, or connect with Client(asynchronous=False)."
        )
    return client


class _Hub:
    """The process that holds a local cluster; see ``rasterloom.cluster.hub``."""

    def __init__(self, process: "subprocess.Popen[bytes]", address: str) -> None:
        self._process = process
        self.address = address

    def close(self) -> None:
        """End the cluster and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        _reap(self._process, _STOP_SECONDS)


class _LocalClient(Client):
    """A client whose cluster ends with it."""

    def __init__(self, hub: _Hub) -> None:
        self._hub: _Hub | None = hub
        try:
            super().__init__(hub.address, timeout=CONNECT_SECONDS)
        except OSError:
            hub.close()
            raise

    def close(self, *args: Any, **kwargs: Any) -> Any:
        closing = super().close(*args, **kwargs)
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.close()
        return closing


def _check_target(target: str, local: bool) -> None:
    if not target.startswith(("tcp://", "tls://")):
        raise SettingError(
            f"target={target!r} is no address of a scheduler: use 'tcp://host:8786' or 'tls://host:8786', "
            "or None for a cluster on this machine."
        )
    if local:
        raise SettingError(
            f"n_workers and threads_per_worker are for a cluster that is started here, and {target} runs "
            "already: leave them out, or leave out the target."
        )


def _join(address: str, **settings: Any) -> Client:
    try:
        return Client(address, timeout=CONNECT_SECONDS, **settings)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"No Dask scheduler answers at {address} within {CONNECT_SECONDS:.0f} s ({error}). Check that "
            "'dask scheduler' runs there, that its port is open from here, and that tcp:// or tls:// is the "
            "protocol it was started with; connect() without an address starts a cluster on this machine."
        ) from error


def _workers(n_workers: int | None) -> int:
    if n_workers is None:
        return max(1, min(CPU_COUNT, int(MEMORY_LIMIT // _WORKER_BYTES)))
    if n_workers < 1:
        raise SettingError(f"n_workers={n_workers} leaves nobody to work: use 1 or more.")
    return n_workers


def _limit(memory_limit: str | int) -> str | int:
    if memory_limit == "auto":
        return memory_limit
    try:
        return int(parse_bytes(memory_limit))
    except ValueError as error:
        raise SettingError(
            f"memory_limit={memory_limit!r} is no amount of memory: use bytes, text like '4 GB', or 'auto'."
        ) from error


def _start(n_workers: int, threads_per_worker: int, memory_limit: str | int, dashboard: bool) -> _Hub:
    if threads_per_worker < 1:
        raise SettingError(
            f"threads_per_worker={threads_per_worker} leaves nothing to run on: use 1 or more."
        )
    reader, writer = os.pipe()
    with os.fdopen(reader, "r", encoding="utf-8") as answer:
        settings = {
            "path": sys.path,
            "answer": writer,
            "config": _CONFIG,
            "cluster": {
                "n_workers": n_workers,
                "threads_per_worker": threads_per_worker,
                "memory_limit": memory_limit,
                "dashboard_address": f"127.0.0.1:{_dashboard_port() if dashboard else 0}",
                "scheduler_kwargs": {"dashboard": dashboard},
            },
        }
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOT],
                stdin=subprocess.PIPE,
                pass_fds=(writer,),
                env=_QUIET | os.environ | _worker_environment(n_workers),
                start_new_session=True,  # Ctrl-C is for this process: it decides what becomes of the workers
            )
        finally:
            os.close(writer)
        return _greet(process, settings, answer)


def _greet(process: "subprocess.Popen[bytes]", settings: dict[str, Any], answer: Any) -> _Hub:
    """Send the settings and wait for the address."""
    assert process.stdin is not None, "opened as a pipe"
    line = ""
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        if select.select([answer], [], [], _START_SECONDS)[0]:
            line = answer.readline()
    except BrokenPipeError:
        line = ""
    finally:
        if not line:
            process.stdin.close()
            _reap(process, seconds=1.0)
    if not line:
        raise ClusterError(
            f"The local cluster did not start (its process ended with {process.returncode}). What it printed "
            "stands above; too little memory or a full disk for temporary files is the usual cause. "
            "client=None runs without a cluster."
        )
    return _Hub(process, json.loads(line)["address"])


def _reap(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _worker_environment(n_workers: int) -> dict[str, str]:
    """Share the cores among the workers, in the words of the libraries that start threads of their own.

    What the caller's environment says already stands.
    """
    threads = str(max(1, CPU_COUNT // n_workers))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    # Measured: GDAL reads as fast with a small block cache as with its default of 5 % of the memory.
    shares = {name: os.environ.get(name, threads) for name in names}
    return shares | {"GDAL_CACHEMAX": os.environ.get("GDAL_CACHEMAX", "32")}


def _dashboard_port() -> int:
    """8787 where it is free, else 0 for any: dask would warn about every other cluster of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _DASHBOARD_PORT))
        except OSError:
            return 0
    return _DASHBOARD_PORT
