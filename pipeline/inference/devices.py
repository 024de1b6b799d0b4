"""Choose what a run computes on: one kind of device and one kind of number for the whole run."""

import os
from typing import Any

from rasterloom.models.errors import SettingError

PRECISIONS = ("float32", "bfloat16", "float16")

LOCAL_THREADS = 4
"""Most batches that this process computes side by side: each holds the network's intermediate results."""


def choose_device(processor: str | None, client: Any) -> str:
    """``cuda`` where every worker has a GPU, else ``cpu``; or what the caller asks for.

    Parameters
    ----------
    processor
        The context's ``processorType``: "CPU", "GPU" or None.
    client
        Dask client, or None for this process.

    Raises
    ------
    SettingError
        If a GPU is asked for and a worker has none, or the word is not known.
    """
    wanted = (processor or "").upper()
    if wanted not in ("", "CPU", "GPU"):
        raise SettingError(f"processorType={processor!r} is not known: use 'CPU' or 'GPU'.")
    if wanted == "CPU":
        return "cpu"
    found = _everywhere(has_gpu, client)
    if found and all(found):
        return "cuda"
    if wanted == "GPU":
        raise SettingError(
            f"processorType='GPU', but {found.count(False)} of {len(found)} workers see no GPU: "
            "use 'CPU', or start workers where nvidia-smi lists one."
        )
    return "cpu"


def choose_precision(wanted: str | None, device: str, client: Any) -> str:
    """The network's arithmetic: what the caller asks for, else float32 on CPU and 16 bits on a GPU.

    On a GPU that is ``bfloat16`` where every one has it, else ``float16``.

    Raises
    ------
    SettingError
        If the word is not known.
    """
    if wanted is not None:
        if wanted not in PRECISIONS:
            raise SettingError(f"precision={wanted!r} is not known: use {', '.join(PRECISIONS)}.")
        return wanted
    if device == "cpu":
        return "float32"
    return "bfloat16" if all(_everywhere(has_bfloat16, client)) else "float16"


def batches_at_once(factor: Any, client: Any, batches: int) -> int | None:
    """How many batches are computed side by side; None: as many as a cluster has threads.

    Parameters
    ----------
    factor
        The context's ``parallelProcessingFactor``: a share of the cores ("80%") or a number of them, also as
        text. None takes all.
    client
        Dask client, or None for this process.
    batches
        Batches of the plan: with fewer than cores, each may use several.

    Raises
    ------
    SettingError
        If the factor cannot be read.

    References
    ----------
    Environment setting "Parallel processing factor": 0 and 1 mean one process.
    """
    if client is not None:
        threads = max(1, sum(client.nthreads().values()))
        return None if factor is None else _share(factor, threads)
    cores = len(os.sched_getaffinity(0))
    wanted = cores if factor is None else _share(factor, cores)
    return max(1, min(wanted, LOCAL_THREADS, batches))


def has_gpu() -> bool:
    """Whether this process can compute on a CUDA device."""
    import torch

    return torch.cuda.is_available()


def has_bfloat16() -> bool:
    """Whether this process's CUDA device computes bfloat16 in hardware."""
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)


def _everywhere(question: Any, client: Any) -> list[bool]:
    """The answer of every worker; one that leaves meanwhile need not be asked."""
    return [question()] if client is None else list(client.run(question, on_error="ignore").values())


def _share(factor: Any, threads: int) -> int:
    text = str(factor).strip()
    try:
        number = float(text.removesuffix("%"))
        if number < 0 or number != number or number == float("inf"):
            raise ValueError
    except ValueError as error:
        raise SettingError(
            f"parallelProcessingFactor={factor!r} cannot be read: "
            "give a share such as '80%', or a number of cores."
        ) from error
    wanted = threads * number / 100 if text.endswith("%") else number
    return max(1, min(int(wanted), threads))
