"""Clusters in the background of this machine: started, looked at, and ended without losing work."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rasterloom.cluster.daemon_node import ANSWER_SECONDS, STOP_SECONDS, check_free, serve
from rasterloom.cluster.daemon_plan import NodeSettings, check_node
from rasterloom.cluster.daemon_state import (
    NodeState,
    check_name,
    log_of,
    make_folder,
    read_state,
    read_states,
    remove_state,
    wait_for_end,
)
from rasterloom.cluster.drain import ask_scheduler
from rasterloom.cluster.tls import read_security
from rasterloom.models.errors import ClusterError, SettingError

START_SECONDS = 120.0
"""How long a node in the background may take to be ready, on a busy machine."""

_TAIL_LINES = 12

_BOOT = ("-P", "-c", "from rasterloom.cluster.daemon import main; main()")
"""Without the current folder in the module path: a file in it could stand in for a library."""


def start_node(settings: NodeSettings, *, timeout: float = START_SECONDS) -> NodeState:
    """Start a node that goes on in the background, and return its state once it is ready.

    Raises
    ------
    SettingError
        If a setting cannot work, the name is taken, or it would be open to others.
    ClusterError
        If it is not ready in time. Nothing of it is left then.
    """
    check_node(settings)
    name = check_name(settings.name or "default")
    check_free(name)
    make_folder()
    log = log_of(name)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        process = subprocess.Popen(
            [sys.executable, *_BOOT],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    assert process.stdin is not None, "opened as a pipe"
    told = {"settings": asdict(replace(settings, name=name)), "log": str(log)}
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(json.dumps(told).encode())
    return _wait_ready(process, name, log, timeout)


def stop_node(name: str) -> NodeState:
    """End a node of this machine once its work in flight is done, and return what it was.

    Raises
    ------
    SettingError
        If no node of this name runs, or it runs on another machine.
    """
    state = read_state(name)
    if state is None:
        raise SettingError(
            f"no cluster called {name!r} runs here: 'rasterloom cluster status' lists those that do."
        )
    if state.host != socket.gethostname():
        raise SettingError(f"{name!r} runs on {state.host}: stop it there.")
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    if not wait_for_end(state, state.grace + 2 * STOP_SECONDS):
        for group in (state.pid, *state.groups):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        wait_for_end(state, STOP_SECONDS)
    remove_state(state)
    return state


def look_at_nodes(name: str | None = None) -> list[dict[str, Any]]:
    """What runs on this machine, and what its schedulers say: plain values, ready for JSON.

    "state" is "running", "starting", or "no answer" where the scheduler is silent. "workers" lists those of
    the whole cluster; it is None where nobody says who they are.
    """
    states = [state for state in read_states() if name in (None, state.name)]
    return [_look_at(state) for state in states]


def main() -> None:
    """Serve a node in the background: what to do comes as JSON on standard input."""
    told = json.load(sys.stdin)
    try:
        serve(NodeSettings(**told["settings"]), on_ready=lambda state: None, log=told["log"])
    except (ClusterError, SettingError) as error:
        sys.exit(f"rasterloom: {error}")


def _look_at(state: NodeState) -> dict[str, Any]:
    told: dict[str, Any] = asdict(state)
    del told["born"], told["groups"], told["ready"]
    found: dict[str, Any] = {"state": "starting", "workers": None, "error": ""}
    if state.ready:
        try:
            security = read_security(state.tls or None, state.address)
            scheduler = ask_scheduler(state.address, security, ANSWER_SECONDS)
        except (OSError, SettingError) as error:
            found |= {"state": "no answer", "error": str(error)}
        else:
            found |= {"state": "running", "workers": _workers_of(scheduler)}
    return told | found


def _workers_of(scheduler: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": str(worker["name"]),
            "address": address,
            "status": worker["status"],
            "threads": worker["nthreads"],
            "gpus": int((worker.get("resources") or {}).get("GPU", 0)),
            "memory_limit": int(worker["memory_limit"] or 0),
            "memory": int(worker["metrics"].get("memory", 0)),
        }
        for address, worker in scheduler["workers"].items()
    ]


def _wait_ready(process: "subprocess.Popen[bytes]", name: str, log: Path, timeout: float) -> NodeState:
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        state = read_state(name)
        if state is not None and state.pid == process.pid and state.ready:
            # It goes on without this process. Should it end first, it leaves nothing in the process table.
            threading.Thread(target=process.wait, name="node-end", daemon=True).start()
            return state
        time.sleep(0.1)
    late = process.poll() is None
    if late:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()
        process.wait()
    told = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
    why = f"was not ready after {timeout:g} s" if late else f"ended with {process.returncode}"
    raise ClusterError(f"The cluster {name!r} {why}. The end of {log}:\n{told}")
