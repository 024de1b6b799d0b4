"""A child process that ends with its parent, and what it has to say at its end."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

PARENT = "RASTERLOOM_PARENT"
"""Variable that holds the process id of the parent."""

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""

_LOOK_SECONDS = 0.2
_SWEEP_SECONDS = 3.0
_KEPT_BYTES = 6_000
"""What is kept of the end of each stream."""


@dataclass(frozen=True)
class Ending:
    """How a child process ended."""

    code: int | None
    """Exit status; the negative number of the signal that killed it; None if it was stopped as unwanted."""
    said: str
    """The end of what it wrote on standard output."""
    tail: str
    """The end of what it wrote on standard error."""


def run_child(
    command: Sequence[str], environment: Mapping[str, str], *, unwanted: Callable[[], bool]
) -> Ending:
    """Run a command to its end, or kill it as soon as it is unwanted; nothing it started is left.

    The child has to call :func:`die_with_parent`, so that it ends with this process too. It has to be waited
    for in the thread that started it: Linux takes the end of that thread for the end of the parent.
    """
    child = subprocess.Popen(
        command,
        env={**environment, PARENT: str(os.getpid())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a group of its own, which ends with it
    )
    assert child.stdout is not None, "opened as a pipe"
    assert child.stderr is not None, "opened as a pipe"
    said, tail = _End(child.stdout), _End(child.stderr)
    stopped = False
    try:
        while child.poll() is None and not (stopped := unwanted()):
            with suppress(subprocess.TimeoutExpired):
                child.wait(_LOOK_SECONDS)
    finally:
        child.kill()
        child.wait()
        _sweep(child.pid)
    return Ending(None if stopped else child.returncode, said.text(), tail.text())


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, as it does on Linux; to be called first.

    Does nothing where no parent is named.
    """
    parent = os.environ.get(PARENT)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


class _End:
    """The last bytes of a stream, read by a thread until it ends."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._read, name="child-output", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """What is kept, once the stream has ended."""
        self._thread.join(_SWEEP_SECONDS)
        return self._kept.decode(errors="replace").strip()

    def _read(self) -> None:
        with self._stream:
            while part := os.read(self._stream.fileno(), 65_536):
                self._kept = (self._kept + part)[-_KEPT_BYTES:]


def _sweep(group: int) -> None:
    """End what the child has left of its group.

    First in a way that Python's tracker of shared semaphores outlives, which then removes them.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + _SWEEP_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.02)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
