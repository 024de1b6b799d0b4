"""What runs on this machine: one small file for each scheduler or group of workers that was started here."""

import json
import os
import re
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from rasterloom.models.errors import SettingError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class NodeState:
    """A scheduler, workers, or both, that were started on this machine; holds no secret."""

    name: str
    role: str
    """"all", "scheduler" or "worker"."""
    host: str
    """Name of the machine."""
    pid: int
    """The process that looks after the others, and ends them on SIGTERM."""
    born: float
    """When that process began: another one may get its number later."""
    grace: float
    """Seconds that work in flight may take at the end."""
    address: str = ""
    """The scheduler's; empty until it answers."""
    dashboard: str = ""
    """Address of the dashboard, on this machine; empty for workers alone."""
    workers: int = 0
    tls: str = ""
    """Folder with the keys; empty without TLS."""
    log: str = ""
    groups: tuple[int, ...] = field(default=())
    """The process groups to end if the process above cannot do it."""
    ready: bool = False
    """Whether the scheduler answers and all workers have joined it."""

    def alive(self) -> bool:
        """Whether the process is still there, or on another machine that shares the folder."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            ended = (
                process.status() == psutil.STATUS_ZOMBIE
            )  # and who started it has not asked for its end yet
            return not ended and abs(process.create_time() - self.born) < 2.0
        except psutil.NoSuchProcess:
            return False


def this_process(name: str, role: str, *, grace: float, tls: str = "", log: str = "") -> NodeState:
    """The state of a node that this process looks after, before anything of it is there."""
    pid = os.getpid()
    return NodeState(
        name=check_name(name),
        role=role,
        host=socket.gethostname(),
        pid=pid,
        born=psutil.Process(pid).create_time(),
        grace=grace,
        tls=tls,
        log=log,
    )


def check_name(name: str) -> str:
    """Return the name, which has to be good for a file."""
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"name={name!r} cannot be the name of a file: use letters, digits, '.', '_' and '-', 64 at most."
        )
    return name


def folder_of_states() -> Path:
    """Where the files are: rasterloom/clusters under $XDG_STATE_HOME, which is ~/.local/state by default."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "rasterloom" / "clusters"


def log_of(name: str) -> Path:
    """Where a node that runs in the background writes what it has to say."""
    return folder_of_states() / f"{check_name(name)}.log"


def read_states() -> list[NodeState]:
    """The nodes whose files are there, by name; files of nodes that ended without tidying up are removed."""
    states = []
    for path in sorted(folder_of_states().glob("*.json")):
        state = _read(path)
        if state is not None and state.alive():
            states.append(state)
        elif state is not None:
            path.unlink(missing_ok=True)
    return states


def read_state(name: str) -> NodeState | None:
    """The node of this name, if it runs."""
    return next((state for state in read_states() if state.name == check_name(name)), None)


def write_state(state: NodeState) -> None:
    """Write the file of a node, whole or not at all, for its owner's eyes only."""
    folder = make_folder()
    rough = folder / f".{state.name}.{os.getpid()}"
    with os.fdopen(os.open(rough, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(state), file, indent=2)
    rough.replace(folder / f"{state.name}.json")


def make_folder() -> Path:
    """The folder of the files, made where it is missing."""
    folder = folder_of_states()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def remove_state(state: NodeState) -> None:
    """Remove the file of a node that has ended, unless it speaks of another process by now."""
    path = folder_of_states() / f"{state.name}.json"
    found = _read(path)
    if found is not None and (found.pid, found.host) == (state.pid, state.host):
        path.unlink(missing_ok=True)


def wait_for_end(state: NodeState, seconds: float) -> bool:
    """Wait for the end of a node's process; whether it came in time."""
    deadline = time.monotonic() + seconds
    while state.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _read(path: Path) -> NodeState | None:
    try:
        told = json.loads(path.read_text())
        return NodeState(**{**told, "groups": tuple(told["groups"])})
    except (OSError, ValueError, TypeError, KeyError):  # of another version, or half deleted
        return None
