"""Joins a cluster of Coiled, or has it start one: "coiled:NAME".

Machines, regions and images of a new cluster are what Dask's configuration says under ``coiled``.
"""

from pathlib import Path
from typing import Any

from distributed import Security

from rasterloom.cluster.gpu import GpuChoice
from rasterloom.cluster.targets import Opened, load_extra
from rasterloom.models.errors import ClusterError, SettingError


def open_cluster(
    name: str,
    *,
    n_workers: int | None,
    threads_per_worker: int | None,
    gpus: GpuChoice,
    security: bool | str | Path | Security | None,
    timeout: float,
) -> Opened:
    """Join the cluster of that name, or start it; one that was started here ends when it is closed.

    Raises
    ------
    SettingError
        If keys are given: Coiled makes its own.
    MissingExtraError
        If the package coiled is not installed.
    ClusterError
        If Coiled cannot start the cluster.
    """
    if security not in (None, True):
        raise SettingError("security is Coiled's: its clusters have keys of their own. Leave it out.")
    # its licence (Elastic-2.0) is no open one, so no extra of ours brings it
    library = load_extra("coiled", "coiled", "coiled")
    keywords = _keywords(threads_per_worker, gpus)
    if n_workers is not None:
        keywords["n_workers"] = n_workers
    try:
        # Whether it ends with us, coiled decides as we would: only if it was started here.
        cluster = library.Cluster(name=name, wait_for_workers=False, **keywords)
    except (RuntimeError, ValueError, OSError) as error:
        raise ClusterError(
            f"Coiled gives no cluster {name!r} ({error}): check 'coiled login', and what it shows of the "
            "cluster."
        ) from error
    return Opened(
        address=cluster.scheduler_address,
        security=cluster.security,
        where=f"coiled {name}",
        close=cluster.close,
        scale=cluster.scale,
    )


def _keywords(threads: int | None, gpus: GpuChoice) -> dict[str, Any]:
    if isinstance(gpus, list | tuple):
        raise SettingError(f"gpus={gpus!r}: a machine of Coiled has GPUs of its own. Use True or False.")
    if gpus not in ("auto", "all", True, False, 0, 1):
        raise SettingError(
            f"gpus={gpus!r}: a worker uses one GPU. Use True for machines with one each, and n_workers for "
            "their number."
        )
    gpu = gpus != "auto" and bool(gpus)
    options: dict[str, Any] = {"nthreads": threads or 3} if threads or gpu else {}
    if not gpu:
        return {"worker_options": options} if options else {}
    return {"worker_gpu": 1, "worker_options": options | {"resources": {"GPU": 1}}}
