"""A graphics processor that no longer answers: leave it to a new process."""

import os
import sys

_LOST = ("CUDA error", "device-side assert", "CUBLAS_STATUS", "cuDNN error")
"""What messages of a lost CUDA context hold."""


def is_lost_gpu(error: BaseException) -> bool:
    """Whether every later call to the GPU in this process will fail as this one did."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST)


def give_up_gpu(error: BaseException) -> None:
    """End a worker process whose GPU is lost, so that its nanny starts a new one.

    The driver sees a worker that died, and tries its batches again elsewhere. Nothing happens for any other
    error, or where no nanny would start a new process.
    """
    if is_lost_gpu(error) and _has_nanny():
        print(f"worker {os.getpid()} ends: its GPU is lost ({error})", file=sys.stderr, flush=True)
        os._exit(70)


def _has_nanny() -> bool:
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        return get_worker().nanny is not None
    except ValueError:  # not in a task
        return False
