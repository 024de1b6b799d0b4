"""Starts a cluster on this machine: one worker process per GPU or per core, in a process group of its own."""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dask.system import CPU_COUNT
from dask.utils import parse_bytes
from distributed import Security
from distributed.system import MEMORY_LIMIT

from rasterloom.cluster.client import Connection
from rasterloom.cluster.gpu import GpuChoice, choose_gpus
from rasterloom.cluster.hub import BOOT
from rasterloom.cluster.settings import local_settings
from rasterloom.models.errors import ClusterError, SettingError

GPU_THREADS = 3
"""Threads of a worker with a GPU: one batch is on it while another is read and a third is written.

Measured: 96 to 98 % busy, against 38 % with one thread.
"""

_STOP_SECONDS = 15.0

_DASHBOARD_PORT = 8787

_WORKER_BYTES = 2e9
"""Memory that a worker with a model and its buffers should find; fewer workers start where there is less."""

_QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}
"""What a run needs to know about lost workers and failed tasks, its driver reports."""


def start_local(
    *,
    n_workers: int | None = None,
    threads_per_worker: int | None = None,
    memory_limit: str | int = "auto",
    gpus: GpuChoice = "auto",
    security: bool | str | Path | Security | None = None,
    dashboard: bool = True,
    timeout: float = 120.0,
) -> Connection:
    """Start a cluster that ends with the client which is returned, or with this process.

    Scheduler, workers and dashboard listen on 127.0.0.1 only. The settings are those of ``connect``.

    Raises
    ------
    SettingError
        If a setting cannot work.
    ClusterError
        If the cluster does not start within ``timeout`` seconds.
    """
    chosen = choose_gpus(gpus)
    workers = count_workers(n_workers, chosen)
    settings: dict[str, Any] = {
        "path": sys.path,
        "config": local_settings(),
        "gpus": [chosen[i % len(chosen)] for i in range(workers)] if chosen else [],
        "cluster": {
            "n_workers": workers,
            "threads_per_worker": count_threads(threads_per_worker, chosen),
            "memory_limit": worker_memory_limit(memory_limit, workers),
            "dashboard_address": f"127.0.0.1:{_dashboard_port() if dashboard else 0}",
            "scheduler_kwargs": {"dashboard": dashboard},
        },
    }
    with ExitStack() as undo:
        keys = _keys(security, undo.callback)
        settings["security"] = _fields(keys)
        hub = _start(settings, worker_environment(workers) | _hidden(gpus, chosen), timeout)
        undo.callback(hub.close)
        where = "this machine" if keys is None else "this machine, encrypted"
        return Connection(
            hub.address, where=where, on_close=undo.pop_all().close, security=keys, timeout=timeout
        )


def count_workers(wanted: int | None, gpus: Sequence[str]) -> int:
    """Worker processes of this machine: as many as wanted, else one for each GPU, else one for each core.

    Fewer than cores where the memory would not do for a model in each.

    Raises
    ------
    SettingError
        If none are wanted.
    """
    if wanted is not None:
        if wanted < 1:
            raise SettingError(f"n_workers={wanted} leaves nobody to work: use 1 or more.")
        return wanted
    return len(gpus) or max(1, min(CPU_COUNT, int(MEMORY_LIMIT // _WORKER_BYTES)))


def worker_environment(n_workers: int) -> dict[str, str]:
    """Share the cores among the workers, in the words of the libraries that start threads of their own.

    What the caller's environment says already stands.
    """
    threads = str(max(1, CPU_COUNT // n_workers))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    # Measured: GDAL reads as fast with a small block cache as with its default of 5 % of the memory.
    wanted = dict.fromkeys(names, threads) | {"GDAL_CACHEMAX": "32"}
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        # GPUs are counted as nvidia-smi counts them; CUDA itself would begin with the fastest.
        wanted["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def count_threads(wanted: int | None, gpus: Sequence[str]) -> int:
    """Threads of a worker: what is wanted, else three for one with a GPU and one for one without.

    Raises
    ------
    SettingError
        If fewer than one are wanted.
    """
    if wanted is None:
        return GPU_THREADS if gpus else 1
    if wanted < 1:
        raise SettingError(f"threads_per_worker={wanted} leaves nothing to run on: use 1 or more.")
    return wanted


def worker_memory_limit(limit: str | int, n_workers: int) -> int:
    """Bytes for one worker. distributed's own "auto" goes by threads: three of 64 cores would get 5 %.

    Raises
    ------
    SettingError
        If the limit cannot be read.
    """
    if limit == "auto":
        return int(MEMORY_LIMIT // n_workers)
    try:
        return int(parse_bytes(limit))
    except ValueError as error:
        raise SettingError(
            f"memory_limit={limit!r} is no amount of memory: use bytes, text like '4 GB', or 'auto'."
        ) from error


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


def _hidden(wanted: GpuChoice, chosen: Sequence[str]) -> dict[str, str]:
    """Workers that shall have no GPU see none: all of them would take the first."""
    return {} if chosen or wanted == "auto" else {"CUDA_VISIBLE_DEVICES": ""}


def _keys(
    given: bool | str | Path | Security | None, when_closed: Callable[[Callable[[], None]], Any]
) -> Security | None:
    if given is None or given is False:
        return None
    from rasterloom.cluster.tls import read_security, temporary_keys

    if given is not True:
        return read_security(given, None)
    folder, forget = temporary_keys()
    when_closed(forget)
    return read_security(folder, None)


def _fields(keys: Security | None) -> dict[str, Any] | None:
    """What the hub needs to make the same ``Security``; it goes there through a pipe."""
    if keys is None:
        return None
    names = [name for name in Security.__slots__ if name.startswith("tls_")] + ["require_encryption"]
    return {name: value for name in names if (value := getattr(keys, name, None)) is not None}


def _start(settings: dict[str, Any], environment: dict[str, str], timeout: float) -> _Hub:
    reader, writer = os.pipe()
    with os.fdopen(reader, "r", encoding="utf-8") as answer:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOT],
                stdin=subprocess.PIPE,
                pass_fds=(writer,),
                env=_QUIET | os.environ | environment,
                start_new_session=True,  # Ctrl-C is for this process: it decides what becomes of the workers
            )
        finally:
            os.close(writer)
        return _greet(process, settings | {"answer": writer}, answer, timeout)


def _greet(process: "subprocess.Popen[bytes]", settings: dict[str, Any], answer: Any, timeout: float) -> _Hub:
    """Send the settings and wait for the address."""
    assert process.stdin is not None, "opened as a pipe"
    line, late = "", False
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        late = not select.select([answer], [], [], timeout)[0]
        line = "" if late else answer.readline()
    except BrokenPipeError:
        line = ""
    finally:
        if not line:
            process.stdin.close()
            _reap(process, seconds=1.0)
    if late:
        raise ClusterError(
            f"The local cluster did not start within {timeout:.0f} s: a larger timeout gives a busy machine "
            "the time, and fewer n_workers take less of it."
        )
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


def _dashboard_port() -> int:
    """8787 where it is free, else 0 for any: dask would warn about every other cluster of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _DASHBOARD_PORT))
        except OSError:
            return 0
    return _DASHBOARD_PORT
