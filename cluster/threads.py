"""How many batches this process computes at once, for those who share its cores among them."""

import threading

_thread = threading.local()


def batch_threads() -> int:
    """How many batches are computed side by side where this thread computes one; 1 outside of a run.

    A crew of threads says how many it has, a worker of a cluster how many tasks it takes at a time. What
    starts threads of its own within a batch divides the cores by this number.
    """
    return getattr(_thread, "count", 1)


def share(count: int) -> None:
    """Say that this thread is one of ``count`` that compute batches in this process."""
    _thread.count = count
