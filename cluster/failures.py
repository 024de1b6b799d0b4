"""Which errors of a batch are tried again, which stop the run, and what is said then."""

import errno
from contextlib import suppress
from pathlib import Path

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError, RasterloomError, ReadError

STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM})
"""A full disk, a spent quota, a read-only or forbidden place: no further attempt would help."""


class WorkerDied(Exception):
    """The worker was lost, with its result, before the batch was reported."""


class CrewLost(Exception):
    """Nobody is left to do the work: the scheduler is gone, or every worker is."""


def is_storage_error(error: BaseException) -> bool:
    """Whether ``error`` says that an output could not be written."""
    if isinstance(error, RasterloomError):
        return isinstance(error, OutputError)
    return isinstance(error, OSError) and error.errno in STORAGE_ERRNOS


def is_data_error(error: BaseException) -> bool:
    """Whether another attempt at the batch, whole or in parts, makes sense.

    Data errors come from one place of the input or one moment of the machine: ``ReadError``, every
    ``OSError`` of another library (a remote file that did not answer) except those of STORAGE_ERRNOS,
    ``MemoryError``, and a worker that died. Everything else (TypeError, KeyError, ImportError, and all of our
    own errors but ``ReadError``) would meet every batch alike, so it is a mistake in the program or in the
    call and stops the run at once. So does a failed write: see ``is_storage_error``.
    """
    if isinstance(error, ReadError | WorkerDied | MemoryError):
        return True
    return (
        isinstance(error, OSError) and not isinstance(error, RasterloomError) and not is_storage_error(error)
    )


def describe_error(error: BaseException) -> str:
    """The error in one line, with its class where its text alone would not tell."""
    text = " ".join(str(error).split())
    if isinstance(error, ReadError | WorkerDied) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def storage_failure(error: BaseException, folder: Place, done: int, total: int) -> OutputError:
    """An OutputError that says what could not be written, how much space is wanted, and what is kept."""
    needed = _space_needed(error, folder, done, total)
    kept = f"{done} of {total} batches are kept in {folder}; the same call resumes with the rest."
    return OutputError(f"{describe_output_error(error)} {needed} {kept}")


def describe_output_error(error: BaseException) -> str:
    """The failed write in one sentence."""
    if isinstance(error, OutputError):
        return str(error)
    assert isinstance(error, OSError), "only storage errors come here"
    place = f": {error.filename}" if error.filename else ""
    return f"The storage refused to go on ({error.strerror}{place})."


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def _space_needed(error: BaseException, folder: Place, done: int, total: int) -> str:
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "Make the folder writable for the workers, or choose another output."
    free = folder.free_bytes()
    if free is None:
        return "Free some space, or choose another output."
    if not done:
        return f"{megabytes(free)} are free there: free some space, or choose another output."
    wanted = _folder_bytes(folder.path) / done * (total - done)
    return f"About {megabytes(wanted)} more are needed and {megabytes(free)} are free: free that much."


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a temporary file that was renamed meanwhile
            total += path.stat().st_size
    return total
