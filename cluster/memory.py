"""How much memory this process takes and has taken."""

import ctypes
import resource
from functools import cache
from pathlib import Path

import psutil


def worker_memory() -> int:
    """Resident memory of this process now, in bytes."""
    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Largest resident memory of this process since it began, in bytes.

    Unlike ``ru_maxrss``, the kernel's high-water mark does not begin with that of the process that started
    this one.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return worker_memory()


@cache
def share_free_memory() -> bool:
    """Let the threads of this process take each other's freed memory; whether the C library can.

    By default glibc gives every thread a heap of its own, and what a network frees in one is lost to the
    others. Measured with two threads and a U-Net: 590 MB above the loaded model by default, 490 like this, at
    the same speed.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    except (AttributeError, OSError):  # musl, macOS
        return False


_M_ARENA_MAX = -8
"""glibc, ``malloc.h``."""
