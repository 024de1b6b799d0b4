"""Connects to a Dask cluster, or starts one on this machine."""

from collections.abc import Callable
from pathlib import Path

import distributed
from distributed import Client, Security

from rasterloom.cluster.check import check_workers
from rasterloom.cluster.client import Connection
from rasterloom.cluster.gpu import GpuChoice
from rasterloom.cluster.local import start_local
from rasterloom.models.errors import ClusterError, SettingError

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer."""


def connect(
    target: str | None = None,
    *,
    n_workers: int | None = None,
    threads_per_worker: int | None = None,
    memory_limit: str | int = "auto",
    gpus: GpuChoice = "auto",
    security: bool | str | Path | Security | None = None,
    dashboard: bool = True,
    timeout: float = 120.0,
) -> Connection:
    """Return a client of a Dask cluster; closing it closes what this call started, and nothing else.

    Use it as ``with connect() as client:``. Without a target and without worker settings it joins the cluster
    of the current client, if there is one. Otherwise it starts a cluster on this machine whose scheduler,
    workers and dashboard listen on 127.0.0.1 only and end with this process. No main guard is needed in
    scripts.

    Where GPUs are seen, that is one worker per GPU, with three threads and the resource ``GPU``; CUDA shows
    it no other. Elsewhere it is one worker per core, each with one thread and one torch thread. Measured on
    two busy cores (U-Net resnet18, 256 px, batches of 4): 130 ms of CPU per tile with one torch thread, 250
    to 360 ms with two, which wait for each other by spinning.

    A cluster that is joined or opened is checked first: its workers can import rasterloom, and Python,
    rasterloom, dask and distributed have the versions of this process everywhere.

    Parameters
    ----------
    target
        Address of a running scheduler, "tcp://host:8786" or "tls://host:8786"; a cluster that another system
        keeps, "ssh:hosts.toml", "k8s:NAME", "slurm:FILE", "gateway:URL" or "coiled:NAME"; None as above.
    n_workers
        Worker processes to start here; torch and its like use cores // n_workers threads in each, and more
        processes than GPUs share them in turn. Workers to ask for and to wait for elsewhere; an address is
        only waited for. Without it, whoever is there does the work, and a run waits for the first.
    threads_per_worker
        Batches that a worker computes at the same time: 3 with a GPU, else 1, by default.
    memory_limit
        Memory at which a worker of this machine is restarted, in bytes or as "4 GB"; "auto" shares it.
    gpus
        "auto" for all that nvidia-smi lists and CUDA_VISIBLE_DEVICES does not hide, if any; True or "all" for
        all, and at least one; a number; a list of indices or UUIDs; False or 0 for workers that see none.
    security
        A folder with ca.pem, cert.pem and key.pem, or a ``distributed.Security``. True on this machine makes
        keys for this cluster only, so that other users of the machine cannot join it. None finds the keys for
        tls:// in the folder that RASTERLOOM_TLS names, or in Dask's configuration.
    dashboard
        Whether the scheduler of this machine serves its pages: on port 8787, or on a free one where that is
        taken.
    timeout
        Seconds that a cluster may take to start, and workers to come. A scheduler answers within 10 s.

    Raises
    ------
    SettingError
        If a setting cannot work, or not with this target.
    MissingExtraError
        If the target needs a package that is not installed.
    ClusterError
        If nothing answers at the address, the cluster does not start, too few workers come, or its machines
        and this process do not fit together.
    """
    if target is not None:
        return _elsewhere(target, n_workers, threads_per_worker, memory_limit, gpus, security, timeout)
    asked = (n_workers, threads_per_worker, security) != (None, None, None) or not _is_auto(gpus)
    if not asked and (current := default_client()) is not None:
        where = current.facts().where if isinstance(current, Connection) else "the current client's cluster"
        return _joined(current.scheduler.address, where, current.security, None, timeout)
    return start_local(
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        memory_limit=memory_limit,
        gpus=gpus,
        security=security,
        dashboard=dashboard,
        timeout=timeout,
    )


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


def _elsewhere(
    target: str,
    n_workers: int | None,
    threads_per_worker: int | None,
    memory_limit: str | int,
    gpus: GpuChoice,
    security: bool | str | Path | Security | None,
    timeout: float,
) -> Connection:
    from rasterloom.cluster.targets import is_target, open_target

    if n_workers is not None and n_workers < 1:
        raise SettingError(f"n_workers={n_workers} leaves nobody to work: use 1 or more.")
    _refuse(target, memory_limit=memory_limit != "auto")
    if not is_target(target):
        _check_address(target)
        _refuse(target, threads_per_worker=threads_per_worker is not None, gpus=not _is_auto(gpus))
        from rasterloom.cluster.tls import read_security

        keys = read_security(security, target)
        return _joined(target, target.partition("://")[2], keys, n_workers, timeout)
    opened = open_target(
        target,
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        gpus=gpus,
        security=security,
        timeout=timeout,
    )
    return _joined(opened.address, opened.where, opened.security, n_workers, timeout, opened.close)


def _check_address(target: str) -> None:
    if not target.startswith(("tcp://", "tls://")):
        raise SettingError(
            f"target={target!r} is no address of a scheduler: use 'tcp://host:8786' or 'tls://host:8786', "
            "one of 'ssh:FILE', 'k8s:NAME', 'slurm:FILE', 'gateway:URL' and 'coiled:NAME', or None for a "
            "cluster on this machine."
        )


def _refuse(target: str, **given: bool) -> None:
    for name, is_given in given.items():
        if is_given:
            raise SettingError(
                f"{name} is for workers that are started here, and {target} has its own: leave it out, or "
                "leave out the target."
            )


def _joined(
    address: str,
    where: str,
    security: Security | None,
    n_workers: int | None,
    timeout: float,
    on_close: Callable[[], None] | None = None,
) -> Connection:
    from rasterloom.cluster.tls import warn_of_open

    client = _reach(address, where, security, min(timeout, CONNECT_SECONDS), on_close)
    try:
        _wait(client, n_workers, timeout)
        check_workers(client)
        facts = client.facts()
        warn_of_open(facts.where, facts.address, facts.dashboard, security)
    except BaseException:
        client.close()
        raise
    return client


def _reach(
    address: str,
    where: str,
    security: Security | None,
    seconds: float,
    on_close: Callable[[], None] | None,
) -> Connection:
    try:
        return Connection(address, where=where, on_close=on_close, security=security, timeout=seconds)
    except (OSError, ValueError, TypeError) as error:
        keys = ", with keys of the authority that is used here" if address.startswith("tls://") else ""
        raise ClusterError(
            f"No Dask scheduler answers at {address} within {seconds:.0f} s ({error}). Check that "
            "'dask scheduler' runs there, that its port is open from here, and that tcp:// or tls:// is the "
            f"protocol it was started with{keys}; connect() without an address starts a cluster on this "
            "machine."
        ) from error


def _wait(client: Connection, n_workers: int | None, timeout: float) -> None:
    if n_workers is None:
        return
    try:
        client.wait_for_workers(n_workers, timeout=timeout)
    except TimeoutError as error:
        facts = client.facts()
        raise ClusterError(
            f"{facts.workers} of {n_workers} workers came within {timeout:.0f} s to {facts.where} at "
            f"{facts.address}: look at the logs of those that are missing (another address, port or key, or "
            "no machine to be had), use a smaller n_workers or a larger timeout. Without n_workers, those "
            "that are there begin."
        ) from error


def _is_auto(gpus: GpuChoice) -> bool:
    return isinstance(gpus, str) and gpus == "auto"
