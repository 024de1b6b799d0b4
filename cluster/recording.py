"""Keep what a cluster's dashboard showed during a run as one HTML page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, performance_report

from rasterloom.models.errors import OutputError


@contextmanager
def recorded(client: Client, page: Path) -> Iterator[None]:
    """Write ``page`` when the block ends, in whatever way; not where the scheduler is gone by then.

    Raises
    ------
    OutputError
        If the page cannot be written. Where the block raised, its own error goes on instead.
    """
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with page.open("a"):  # before the work, not after it
            pass
    except OSError as error:
        raise _unwritten(page, error) from error
    recorder = performance_report(filename=str(page))
    with client.as_current():
        recorder.__enter__()
        try:
            yield
        except BaseException:
            _close(recorder, client, page, quiet=True)
            raise
        _close(recorder, client, page, quiet=False)


def _close(recorder: performance_report, client: Client, page: Path, *, quiet: bool) -> None:
    if client.status != "running":
        page.unlink(missing_ok=True)  # empty: what it would show went with the scheduler
        return
    try:
        recorder.__exit__(None, None, None)
    except OSError as error:
        if not quiet:
            raise _unwritten(page, error) from error


def _unwritten(page: Path, error: OSError) -> OutputError:
    return OutputError(
        f"The performance report {page} cannot be written ({error.strerror or error}): name another file. "
        "What was computed is kept."
    )
