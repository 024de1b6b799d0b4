"""Opens a cluster that another system keeps: machines with SSH, Kubernetes, SLURM, a gateway, Coiled."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Security

from rasterloom.cluster.gpu import GpuChoice
from rasterloom.models.errors import MissingExtraError, SettingError


@dataclass(frozen=True)
class Opened:
    """A cluster that was opened, and how it is left again."""

    address: str
    """Address of the scheduler, as ``distributed.Client`` takes it."""
    security: Security | None = field(repr=False)
    """What a client needs to be let in; None for a cluster without TLS."""
    where: str
    """What a person calls it: "ssh hosts.toml", "k8s forest"."""
    close: Callable[[], None] = field(repr=False)
    """Ends what was started here and nothing else; may be called twice."""
    scale: Callable[[int], None] | None = field(repr=False)
    """Asks for that many workers; None where their number is fixed."""


SCHEMES = {
    "ssh": "rasterloom.cluster.targets_ssh",
    "k8s": "rasterloom.cluster.targets_k8s",
    "slurm": "rasterloom.cluster.targets_slurm",
    "gateway": "rasterloom.cluster.targets_gateway",
    "coiled": "rasterloom.cluster.targets_coiled",
}
"""Every scheme and the module whose ``open_cluster`` opens it. Modules load when a scheme is first used."""


def is_target(text: str) -> bool:
    """Whether this names a cluster that ``open_target`` opens."""
    return text.partition(":")[0] in SCHEMES


def open_target(
    target: str,
    *,
    n_workers: int | None = None,
    threads_per_worker: int | None = None,
    gpus: GpuChoice = "auto",
    security: bool | str | Path | Security | None = None,
    timeout: float = 120.0,
) -> Opened:
    """Join or start the cluster that the target names, and return its address; workers may still be coming.

    Parameters
    ----------
    target
        "ssh:FILE", "slurm:FILE" (TOML files), "k8s:NAME", "gateway:URL" or "coiled:NAME".
    n_workers
        Workers to ask for. None: as many as the file says, or as are there.
    threads_per_worker
        Batches that a worker computes at the same time. None: as the file says, else 3 where there is a GPU,
        else 1.
    gpus
        As for ``connect``; False for workers without GPUs.
    security
        A folder of TLS keys or a ``Security``, where the target does not bring its own. False leaves TLS out
        where that is possible.
    timeout
        Seconds that the scheduler may take to start.

    Raises
    ------
    SettingError
        If the target, its file or a setting cannot work.
    MissingInputError
        If its file is not there.
    MissingExtraError
        If the library of that scheme is not installed.
    ClusterError
        If the cluster cannot be reached or started.
    """
    scheme, _, rest = target.partition(":")
    if scheme not in SCHEMES:
        raise SettingError(
            f"target={target!r} is no cluster: use 'tcp://host:8786', 'tls://host:8786', or one of "
            + ", ".join(f"'{known}:...'" for known in SCHEMES)
            + "."
        )
    if not rest:
        raise SettingError(f"target={target!r} names nothing: {_HINTS[scheme]}.")
    if n_workers is not None and n_workers < 1:
        raise SettingError(f"n_workers={n_workers} leaves nobody to work: use 1 or more.")
    if threads_per_worker is not None and threads_per_worker < 1:
        raise SettingError(
            f"threads_per_worker={threads_per_worker} leaves nothing to run on: use 1 or more."
        )
    opened: Opened = importlib.import_module(SCHEMES[scheme]).open_cluster(
        rest,
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        gpus=gpus,
        security=security,
        timeout=timeout,
    )
    return opened


def load_extra(module: str, scheme: str, install: str | None = None) -> Any:
    """Import the library of a scheme.

    Parameters
    ----------
    install
        What brings it; None is the extra that is called like the scheme.

    Raises
    ------
    MissingExtraError
        If it is not installed, with what brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        wanted = install or f"'rasterloom[{scheme}]'"
        raise MissingExtraError(
            f"'{scheme}:' targets need the package {module.partition('.')[0]} ({error}): "
            f"pip install {wanted}."
        ) from error


_HINTS = {
    "ssh": "give the file that lists the machines, as in 'ssh:hosts.toml'",
    "k8s": "give the name of a DaskCluster, as in 'k8s:forest'",
    "slurm": "give the file that describes a job, as in 'slurm:cluster.toml'",
    "gateway": "give the address of the gateway, as in 'gateway:https://dask.example.org'",
    "coiled": "give the name of a cluster, as in 'coiled:forest'",
}
