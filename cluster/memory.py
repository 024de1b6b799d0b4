"""How much memory this process takes and has taken."""

import resource
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
