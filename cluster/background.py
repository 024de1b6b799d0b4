"""Long work that goes on while the caller does something else."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from rasterloom.cluster.jobs import Progress
from rasterloom.models.errors import RunInterrupted


class Job:
    """A run in the background, as ``future=True`` returns it."""

    def __init__(self, work: Callable[[Callable[[Progress], None]], Any]) -> None:
        """Start ``work`` in a thread of its own.

        Parameters
        ----------
        work
            Does the work and returns its result. It is given a function to call with its progress.
        """
        self._cancelled = threading.Event()
        self._share = 0.0
        self._outcome: Future[Any] = Future()
        self._thread = threading.Thread(target=self._run, args=(work,), name="rasterloom-job", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        if not self.done():
            return f"<Job: {self.progress:.0%} done>"
        error = self._outcome.exception()
        return "<Job: finished>" if error is None else f"<Job: ended by {type(error).__name__}>"

    @property
    def progress(self) -> float:
        """Share of the work that is done, 0..1."""
        return 1.0 if self.done() and self._outcome.exception() is None else self._share

    def done(self) -> bool:
        """Whether the work has ended, in whatever way."""
        return self._outcome.done()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result.

        Parameters
        ----------
        timeout
            Seconds to wait at most. None waits for as long as it takes.

        Raises
        ------
        TimeoutError
            If it is not there in time. The work goes on.
        RunInterrupted
            If the job was cancelled.
        """
        return self._outcome.result(timeout)

    def cancel(self) -> None:
        """Stop as soon as the batches at hand allow. What is done is kept for the same call to go on from."""
        self._cancelled.set()

    def _report(self, progress: Progress) -> None:
        self._share = progress.done_cells / max(progress.total_cells, 1)
        if self._cancelled.is_set():
            raise RunInterrupted(
                f"cancelled with {progress.done_cells} of {progress.total_cells} cells done: "
                "they are kept, and the same call goes on from there."
            )

    def _run(self, work: Callable[[Callable[[Progress], None]], Any]) -> None:
        try:
            self._outcome.set_result(work(self._report))
        except BaseException as error:  # noqa: BLE001 - whatever ended the work is raised again by result()
            self._outcome.set_exception(error)
