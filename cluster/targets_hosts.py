"""Reads the machines of an SSH cluster from a TOML file.

[defaults]                        # for every machine that says nothing else
user = "ubuntu"                   # left out: as you are called here
port = 22                         # of SSH
key = "~/.ssh/id_ed25519"         # private key, readable by you only; left out: the SSH agent and usual keys
known_hosts = "~/.ssh/known_hosts"   # keys of the machines; always checked
python = "/opt/rasterloom/bin/python"   # there; left out: "python3"
tls = "/etc/rasterloom/tls"       # there: folder of ca.pem, cert.pem and key.pem; left out: keys made for
                                  # this cluster, sent through SSH and held in memory

[scheduler]
host = "10.0.0.1"                 # for SSH
address = "10.0.0.1"              # where Dask listens there; left out: dask finds it
dask_port = 8786                  # 0: a free one

[[workers]]                       # one table a machine
host = "10.0.0.2"
gpus = "auto"                     # one process for each GPU; or false, a number, or a list of them
processes = 8                     # where there are no GPUs; left out: one a core
threads = 1                       # left out: 3 with a GPU, else 1
memory_limit = "8 GB"             # of one process; left out: its share of the machine
ports = "9000:9100"               # where Dask may listen, for a firewall; left out: any
folder = "/scratch"               # for temporary files; left out: dask's own default
"""

import ipaddress
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dask.utils import parse_bytes

from rasterloom.cluster.targets_files import check_kind, check_names, count, read_file
from rasterloom.models.errors import MissingInputError, SettingError

_LOGIN = ("user", "port", "key", "known_hosts", "python", "tls")
_SCHEDULER = ("host", "address", "dask_port", *_LOGIN)
_WORKERS = (
    "host", "address", "gpus", "processes", "threads", "memory_limit", "ports", "folder", *_LOGIN,
)  # fmt: skip


@dataclass(frozen=True)
class Login:
    """How a machine is reached by SSH, and what runs there."""

    host: str
    user: str | None
    port: int | None
    key: Path | None
    known_hosts: Path | None
    python: str
    tls: str | None
    """Folder of TLS keys on that machine."""

    @property
    def command(self) -> str:
        """What is run there. It holds nothing that others on that machine may not see."""
        return f"{shlex.quote(self.python)} -m rasterloom.cluster.targets_node"


@dataclass(frozen=True)
class Machine:
    """One machine and its share of the cluster."""

    login: Login
    settings: dict[str, Any]
    """What the process there is told; see ``rasterloom.cluster.targets_node``."""


@dataclass(frozen=True)
class Hosts:
    """The machines of a cluster."""

    scheduler: Machine
    workers: tuple[Machine, ...]

    @property
    def machines(self) -> tuple[Machine, ...]:
        """All of them, the scheduler's first."""
        return (self.scheduler, *self.workers)

    @property
    def with_tls(self) -> bool:
        """Whether the machines have TLS keys of their own."""
        return self.scheduler.login.tls is not None


def read_hosts(path: str | Path) -> Hosts:
    """Return the machines that a file lists.

    Raises
    ------
    MissingInputError
        If the file, a key or a list of known hosts is not there.
    SettingError
        If something in the file cannot work, or a key can be read by others.
    """
    tables = check_names(read_file(path), ("defaults", "scheduler", "workers"), str(path))
    defaults = check_names(tables.get("defaults", {}), _LOGIN, f"[defaults] of {path}")
    place = f"[scheduler] of {path}"
    table = {**defaults, **check_names(tables.get("scheduler", {}), _SCHEDULER, place)}
    scheduler = Machine(_login(table, place), _scheduler(table, place))
    listed = tables.get("workers", [])
    if not isinstance(listed, list) or not listed:
        raise SettingError(
            f"{path} lists no workers: write a table [[workers]] with a host for each machine."
        )
    workers = []
    for number, given in enumerate(listed, start=1):
        place = f"[[workers]] number {number} of {path}"
        table = {**defaults, **check_names(given, _WORKERS, place)}
        login = _login(table, place)
        workers.append(Machine(login, _workers(table, place) | {"name": f"{number}-{login.host}"}))
    hosts = Hosts(scheduler, tuple(workers))
    if len({machine.login.tls is None for machine in hosts.machines}) > 1:
        raise SettingError(
            f"{path} gives TLS keys (tls = ...) to some machines only: give them to every machine, or to "
            "none for keys that are made for this cluster."
        )
    return hosts


def _login(table: Mapping[str, Any], place: str) -> Login:
    host = check_kind(table, "host", str, place)
    if not host:
        raise SettingError(f'{place} names no machine: write host = "10.0.0.1".')
    key = _file(table, "key", place)
    if key is not None and key.stat().st_mode & 0o077:
        raise SettingError(
            f"Others on this machine can read the key {key} of {place}: run 'chmod 600 {key}'."
        )
    return Login(
        host=host,
        user=check_kind(table, "user", str, place),
        port=count(table, "port", place),
        key=key,
        known_hosts=_file(table, "known_hosts", place),
        python=check_kind(table, "python", str, place) or "python3",
        tls=check_kind(table, "tls", str, place),
    )


def _file(table: Mapping[str, Any], name: str, place: str) -> Path | None:
    text = check_kind(table, name, str, place)
    if text is None:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise MissingInputError(f"{name} = {text!r} of {place} is not there: give the path of a file.")
    return path


def _scheduler(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    port = check_kind(table, "dask_port", int, place)
    if port is not None and not 0 <= port < 65_536:
        raise SettingError(f"dask_port = {port} in {place}: use 0 for a free one, or 1 to 65535.")
    return {
        "role": "scheduler",
        "listen": _listen(table, place),
        "port": 8786 if port is None else port,
    }


def _workers(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {
        "role": "workers",
        "listen": _listen(table, place),
        "gpus": "auto" if table.get("gpus") is None else table["gpus"],
        "processes": count(table, "processes", place),
        "threads": count(table, "threads", place),
        "memory_limit": _memory(table, place),
        "ports": check_kind(table, "ports", str, place),
        "folder": check_kind(table, "folder", str, place),
    }


def _memory(table: Mapping[str, Any], place: str) -> str | int:
    limit: str | int = check_kind(table, "memory_limit", (str, int), place) or "auto"
    try:
        return limit if limit == "auto" else int(parse_bytes(limit))
    except ValueError as error:
        raise SettingError(
            f"memory_limit = {limit!r} in {place} is no amount of memory: use bytes, or text like '4 GB'."
        ) from error


def _listen(table: Mapping[str, Any], place: str) -> str | None:
    """Address for Dask there: a machine reached at its own loopback has no need to listen anywhere else."""
    address: str | None = check_kind(table, "address", str, place)
    if address is None and _is_loopback(table["host"]):
        return "127.0.0.1"
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
