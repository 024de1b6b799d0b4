"""What a machine contributes to a cluster, and the processes that this takes."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rasterloom.cluster.gpu import choose_gpus
from rasterloom.cluster.local import (
    count_threads,
    count_workers,
    worker_environment,
    worker_memory_limit,
)
from rasterloom.cluster.tls import is_loopback, read_keys, tls_environment
from rasterloom.models.errors import SettingError

ROLES = ("all", "scheduler", "worker")


@dataclass(frozen=True)
class NodeSettings:
    """A scheduler, workers, or both, on one machine."""

    role: str = "all"
    name: str | None = None
    """What it is called on this machine; None for one that nobody looks up."""
    host: str | None = None
    """Address to listen on; None for 127.0.0.1, and for the one that reaches ``join``."""
    port: int = 8786
    """Of the scheduler; 0 takes a free one."""
    dashboard_port: int = 8787
    """On 127.0.0.1 always; 0 takes a free one."""
    join: str | None = None
    """Address of the scheduler that workers alone belong to."""
    n_workers: int | None = None
    """None for one per GPU, or per core."""
    threads_per_worker: int | None = None
    """None for 1, or 3 on a GPU."""
    memory_limit: str = "auto"
    """Of one worker; "auto" shares the machine's."""
    gpus: str = "auto"
    """"auto", "all", "none", a number, or indices and UUIDs separated by commas."""
    worker_ports: str | None = None
    """First and last port of the workers, "9000:9015"; each takes two."""
    tls: str | None = None
    """Folder with ca.pem, cert.pem and key.pem."""
    insecure: bool = False
    """Whether it may be reached from elsewhere without TLS."""
    grace: float = 25.0
    """Seconds that work in flight may take at the end."""


@dataclass(frozen=True)
class Process:
    """One process to start: words for ``daemon_child`` and what its environment holds beside ours."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    workers: tuple[str, ...] = ()
    """Names of the workers in it."""


def check_node(settings: NodeSettings) -> None:
    """Raise SettingError where a setting cannot work, or would open the machine to whoever reaches it."""
    if settings.role not in ROLES:
        raise SettingError(f"role={settings.role!r} is none of {', '.join(ROLES)}.")
    if settings.role == "worker" and settings.join is None:
        raise SettingError("role='worker' needs the scheduler: add --join tls://HOST:8786.")
    if settings.role != "worker" and settings.join is not None:
        raise SettingError(
            f"--join {settings.join} is for workers alone, and role={settings.role!r} starts a scheduler of "
            "its own: add --role worker."
        )
    _check_numbers(settings)
    if settings.tls is not None:
        read_keys(settings.tls)
    if settings.join is not None:
        _check_join(settings.join, settings.tls)
    _check_open(settings)


def plan_scheduler(settings: NodeSettings, file: Path) -> Process:
    """The scheduler, which writes its address into ``file``."""
    host = settings.host or "127.0.0.1"
    words = (
        "scheduler",
        *("--host", f"{_protocol(settings)}://{_bracketed(host)}"),
        *("--port", str(settings.port)),
        *("--dashboard-address", f"127.0.0.1:{settings.dashboard_port}"),
        *("--scheduler-file", str(file)),
    )
    return Process(words, _environment(settings))


def plan_workers(settings: NodeSettings, address: str, prefix: str) -> list[Process]:
    """The workers: one process for each GPU, else one for all of them; each worker has a nanny in it.

    Parameters
    ----------
    address
        The scheduler's.
    prefix
        What the names of the workers begin with; no other worker of the cluster has it.
    """
    gpus = choose_gpus(read_gpus(settings.gpus))
    n_workers = count_workers(settings.n_workers, gpus)
    ports = _shares(settings.worker_ports, n_workers)
    common = (
        *("--nthreads", str(count_threads(settings.threads_per_worker, gpus))),
        *("--memory-limit", str(worker_memory_limit(settings.memory_limit, n_workers))),
        *("--dashboard-address", "127.0.0.1:0"),
        *("--host", _worker_host(settings, address)),
    )
    environment = _environment(settings) | worker_environment(n_workers)
    if not gpus:
        names = (prefix,) if n_workers == 1 else tuple(f"{prefix}-{i}" for i in range(n_workers))
        words = ("worker", address, "--name", prefix, "--nworkers", str(n_workers), *common)
        return [Process((*words, *_ports(settings.worker_ports)), environment, names)]
    return [
        Process(
            (
                *("worker", address, "--name", f"{prefix}-{i}", "--resources", "GPU=1"),
                *(*common, *_ports(ports[i])),
            ),
            environment | {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]},
            (f"{prefix}-{i}",),
        )
        for i in range(n_workers)
    ]


def read_gpus(text: str) -> str | int | bool | list[str]:
    """The ``gpus`` of ``connect`` from a word of the command line."""
    if text in ("auto", "all"):
        return text
    if text == "none":
        return False
    if text.isdecimal():
        return int(text)
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SettingError(f"gpus={text!r} names none: use auto, all, none, a number, or a list as 0,2.")
    return names


def _check_numbers(settings: NodeSettings) -> None:
    for name in ("n_workers", "threads_per_worker"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise SettingError(f"{name}={value} leaves nothing to work with: use 1 or more.")
    worker_memory_limit(settings.memory_limit, 1)
    _shares(settings.worker_ports, settings.n_workers or 1)


def _check_join(join: str, tls: str | None) -> None:
    scheme = urlsplit(join).scheme
    if scheme not in ("tcp", "tls") or urlsplit(join).port is None:
        raise SettingError(
            f"join={join!r} is no address of a scheduler: use 'tls://host:8786' or 'tcp://host:8786'."
        )
    if (scheme == "tls") != (tls is not None):
        wanted = "add --tls FOLDER" if scheme == "tls" else "the scheduler's address would begin with tls://"
        raise SettingError(f"join={join!r} and tls={tls!r} do not fit together: {wanted}.")


def _check_open(settings: NodeSettings) -> None:
    """Without keys, nobody elsewhere may reach what listens here."""
    if settings.tls is not None or settings.insecure:
        return
    place = settings.host or settings.join or "127.0.0.1"
    if not is_loopback(place):
        raise SettingError(
            f"{place} can be reached from other machines, and without keys whoever reaches it can run "
            "programs here: add --tls FOLDER ('rasterloom cluster certs' makes the keys). On a network that "
            "you trust with this machine, --insecure does without."
        )


def _protocol(settings: NodeSettings) -> str:
    return "tcp" if settings.tls is None else "tls"


def _environment(settings: NodeSettings) -> dict[str, str]:
    """The keys in the words of Dask's own commands: paths, and nothing secret."""
    return {} if settings.tls is None else tls_environment(settings.tls)


def _worker_host(settings: NodeSettings, address: str) -> str:
    """Where the workers listen. Of all addresses of this machine, only one is told to the others."""
    if settings.host is not None and settings.host not in ("0.0.0.0", "::"):
        return settings.host
    return "127.0.0.1" if is_loopback(address) else _own_address(address)


def _own_address(address: str) -> str:
    """The address of this machine from which ``address`` is reached; no packet is sent."""
    parts = urlsplit(address)
    family, _, _, _, place = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(place)
        return str(probe.getsockname()[0])


def _shares(ports: str | None, n_workers: int) -> list[str | None]:
    """The ports of each worker, two for each: its own and its nanny's."""
    if ports is None:
        return [None] * n_workers
    first, _, last = ports.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) < 65536):
        raise SettingError(f"worker_ports={ports!r} is no range of ports: write it as 9000:9015.")
    if int(last) - int(first) + 1 < 2 * n_workers:
        raise SettingError(
            f"worker_ports={ports!r} is too few ports for {n_workers} workers, which take two each: "
            f"use {first}:{int(first) + 2 * n_workers - 1}."
        )
    each = (int(last) - int(first) + 1) // n_workers
    return [f"{int(first) + i * each}:{int(first) + (i + 1) * each - 1}" for i in range(n_workers)]


def _ports(ports: str | None) -> tuple[str, ...]:
    return () if ports is None else ("--worker-port", ports, "--nanny-port", ports)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
