"""Graphics processors: which are here, which a cluster takes, and what becomes of one that is lost."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rasterloom.models.errors import SettingError

GpuChoice = bool | int | str | Sequence[int | str]
"""What ``connect(gpus=...)`` takes."""

_LOST = ("CUDA error", "device-side assert", "CUBLAS_STATUS", "cuDNN error")
"""What messages of a lost CUDA context hold."""

_DEVICES = Path("/dev")

_LISTING_SECONDS = 30.0
"""How long nvidia-smi may take: a driver that is not kept loaded is loaded first."""


def visible_gpus() -> list[str]:
    """GPUs that this process may use, in the words that ``CUDA_VISIBLE_DEVICES`` takes.

    What ``nvidia-smi -L`` lists, or only those of them that ``CUDA_VISIBLE_DEVICES`` names, in its order; a
    GPU that is cut into MIG devices stands for these. Without nvidia-smi the device files are counted. CUDA
    is not loaded, so this process may still choose among its GPUs, or fork.

    References
    ----------
    CUDA C++ programming guide, "CUDA environment variables": what follows an entry that names no device is
    invisible; a UUID may be shortened.
    """
    listed = _listed()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return list(listed)
    chosen: list[str] = []
    for word in (part.strip() for part in named.split(",")):
        if not _known(word, listed) or word in chosen:
            break
        chosen.append(word)
    return chosen


def choose_gpus(wanted: GpuChoice) -> list[str]:
    """GPUs for the workers of a cluster on this machine; none means workers without GPUs.

    Parameters
    ----------
    wanted
        "auto" for all that are here, if any; True or "all" for all, and at least one; a number; a list of
        what ``visible_gpus`` returns, or of UUIDs; False or 0 for none.

    Raises
    ------
    SettingError
        If there are fewer, or one of a list is not here or named twice.
    """
    if wanted is False or (isinstance(wanted, int) and wanted == 0):
        return []
    here = visible_gpus()
    if isinstance(wanted, str) and wanted == "auto":
        return here
    if wanted is True or (isinstance(wanted, str) and wanted == "all"):
        return _at_least(1, here, wanted)
    if isinstance(wanted, int):
        return _at_least(wanted, here, wanted)[:wanted]
    if isinstance(wanted, str):
        raise SettingError(
            f"gpus={wanted!r} is not known: use 'auto', 'all', a number, a list such as [0, 1], or False."
        )
    return _picked(wanted, here)


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


def _at_least(count: int, here: list[str], wanted: GpuChoice) -> list[str]:
    if count < 0:
        raise SettingError(f"gpus={wanted!r} is no number of GPUs: use 0 or more.")
    if len(here) < count:
        raise SettingError(
            f"gpus={wanted!r}, but this process sees {len(here)}: use gpus='auto', or check that "
            "nvidia-smi -L lists them and that CUDA_VISIBLE_DEVICES hides none."
        )
    return here


def _picked(wanted: Sequence[int | str], here: list[str]) -> list[str]:
    listed = _listed()
    chosen = [_seen_as(str(word).strip(), here, listed) for word in wanted]
    if "" in chosen or len(set(chosen)) < len(chosen):
        raise SettingError(
            f"gpus={list(wanted)!r} cannot work: name each GPU once, and only those that this process sees "
            f"({', '.join(here) or 'none'}); nvidia-smi -L lists them."
        )
    return chosen


def _seen_as(word: str, here: list[str], listed: dict[str, str]) -> str:
    """The one of ``here`` that ``word`` names, by itself or by its UUID; empty if there is none."""
    if word in here:
        return word
    found = [name for name in here if _is_uuid(word) and listed.get(name, "").startswith(word)]
    return found[0] if len(found) == 1 else ""


def _listed() -> dict[str, str]:
    """Every GPU of the machine, or MIG device, with its UUID, which is empty where it is not known."""
    command = shutil.which("nvidia-smi")
    if command is None:
        files = [path.name for path in _DEVICES.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
        return {str(index): "" for index in range(len(files))}
    try:
        listing = subprocess.run(
            [command, "-L"], capture_output=True, text=True, timeout=_LISTING_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no driver, or one that does not answer
        return {}
    return _parsed(listing.stdout)


def _parsed(listing: str) -> dict[str, str]:
    """Read ``nvidia-smi -L``: a line for each GPU, and indented ones below it for its MIG devices."""
    found: dict[str, str] = {}
    whole = ""
    for line in listing.splitlines():
        gpu = re.match(r"GPU (\d+):.*\(UUID: ([^)\s]+)\)", line)
        part = re.match(r"\s+MIG .*\(UUID: ([^)\s]+)\)", line)
        if gpu is not None:
            whole = gpu[1]
            found[whole] = gpu[2]
        elif part is not None:
            found.pop(whole, None)
            found[part[1]] = part[1]
    return found


def _known(word: str, listed: dict[str, str]) -> bool:
    if word in listed:
        return True
    return _is_uuid(word) and any(uuid.startswith(word) for uuid in listed.values())


def _is_uuid(word: str) -> bool:
    return word.startswith(("GPU-", "MIG-"))
