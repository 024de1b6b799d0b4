"""The one driver of every long job: bounded, restartable, and the same on a cluster and in this process."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rasterloom.cluster.crew import Crew, Outcome, ThreadCrew
from rasterloom.cluster.failures import (
    CrewLost,
    WorkerDied,
    describe_error,
    is_data_error,
    is_storage_error,
    storage_failure,
)
from rasterloom.cluster.jobs import Batch, BatchResult, CellFailure, Plan, Progress, RunBatch, RunReport
from rasterloom.cluster.markers import RunFolder
from rasterloom.models.errors import OutputError, RunInterrupted, SettingError, TooManyFailures

if TYPE_CHECKING:
    from distributed import Client

OnProgress = Callable[[Progress], None]


def execute(
    client: "Client | None",
    plan: Plan,
    run_batch: RunBatch,
    folder: RunFolder,
    *,
    max_failed: float = 0.01,
    attempts: int = 3,
    window: int | None = None,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
    title: str = "",
    performance_report: str | Path | None = None,
) -> RunReport:
    """Compute every batch of ``plan`` that has no marker yet, and write what came of it.

    Batches are generated while the run goes on, and at most ``window`` of them are in flight, so neither this
    process nor the scheduler grows with the plan. Workers may come, go and die. Each attempt goes out under a
    new key. A marker is written by the worker as soon as a batch is complete, so nothing that was computed is
    computed again when the same call is repeated after an interruption.

    A batch that fails with a data error (``failures.is_data_error``: unreadable input, too little memory, a
    worker that died) is tried again: the second attempt in halves, the last one cell by cell, so that what is
    given up in the end is exactly the cells at fault. A batch that cannot be cut is tried again whole. A cell
    whose worker died in the last attempt gets one more, after all others and with nothing beside it, because
    a dying worker takes the blame for all tasks that it held. Any other error is a mistake in the program or
    in the call: it cancels the rest and is raised at once, with a note that names the batch. So is a failed
    write, as ``OutputError``.

    ``run.json`` and ``failed.parquet`` are written however the run ends.

    Parameters
    ----------
    client
        Where to run. None runs on threads of this process, with the same outputs byte for byte.
    plan, run_batch
        What to compute. ``run_batch(plan, batch)`` writes the outputs of one batch and returns a
        ``BatchResult``. Several run at once, in threads and processes; outputs are written under temporary
        names that no other attempt uses, then renamed.
    folder
        Where markers and reports are. All workers see it.
    max_failed
        Share of the plan's cells that may be given up, 0..1.
    attempts
        How often a cell is tried, at least 1.
    window
        Most batches in flight; by default twice the threads, counted anew as workers join and leave.
    threads
        Threads of this process when there is no client (default: one per core, at most 4). With a client, the
        number that the default window is reckoned from instead of the cluster's.
    on_progress
        Called in this thread after each batch.
    title
        What the run does, for messages: "Export of field.tif".
    performance_report
        File that takes what the cluster's dashboard showed during the run, as an HTML page. Needs a client.

    Raises
    ------
    SettingError
        If an argument cannot work.
    TooManyFailures
        If more cells than allowed were given up, after all others were computed.
    RunInterrupted
        On Ctrl-C, or when the scheduler or all workers were lost.
    OutputError
        If an output or a marker could not be written. Says how much space is wanted.
    """
    _check_settings(max_failed, attempts, window, threads)
    recording = _recording(client, performance_report)
    folder.prepare()
    crew = _crew(client, plan, run_batch, folder, threads)
    run = _Run(plan, folder, crew, attempts, max_failed, window, on_progress, title or "The run")
    with recording:
        return run.go()


def _check_settings(max_failed: float, attempts: int, window: int | None, threads: int | None) -> None:
    if not 0 <= max_failed <= 1:
        raise SettingError(f"max_failed={max_failed} is no share of the cells: use 0 to 1.")
    for name, value in {"attempts": attempts, "window": window, "threads": threads}.items():
        if value is not None and value < 1:
            raise SettingError(f"{name}={value} leaves nothing to run with: use 1 or more.")


def _recording(client: "Client | None", page: str | Path | None) -> AbstractContextManager[None]:
    if page is None:
        return nullcontext()
    if client is None:
        raise SettingError(
            f"performance_report={str(page)!r} shows a cluster at work, and there is none: pass a client, "
            "rasterloom.cluster.connect() for one on this machine."
        )
    from rasterloom.cluster.recording import recorded

    return recorded(client, Path(page))


def _crew(
    client: "Client | None", plan: Plan, run_batch: RunBatch, folder: RunFolder, threads: int | None
) -> Crew:
    if client is None:
        return ThreadCrew(plan, run_batch, folder.place, threads)
    # Importing distributed takes half a second, and a run in this process does not need it.
    from rasterloom.cluster.workers import ClusterCrew

    return ClusterCrew(client, plan, run_batch, folder.place, threads)


@dataclass
class _Family:
    """A batch of the plan and what is left of it to do."""

    pieces: int


@dataclass(frozen=True)
class _Task:
    """One attempt at a batch or a part of one."""

    batch: Batch
    attempt: int
    family: _Family


class _Run:
    """The state of one run: what waits, what flies, what came of it."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        crew: Crew,
        attempts: int,
        max_failed: float,
        window: int | None,
        on_progress: OnProgress | None,
        title: str,
    ) -> None:
        self._plan, self._folder, self._crew = plan, folder, crew
        self._attempts, self._window, self._title = attempts, window, title
        self._allowed = max_failed * plan.cell_count
        self._on_progress = on_progress or (lambda progress: None)
        self._fresh = self._unmarked()
        self._again: deque[_Task] = deque()
        self._suspects: deque[_Task] = deque()
        self._flying: dict[int, _Task] = {}
        self._tickets = 0
        self._started = time.monotonic()
        self._resumed = self._computed = self._pixels = 0
        self._resumed_cells = self._computed_cells = 0
        self._failed: list[CellFailure] = []

    def go(self) -> RunReport:
        state = "stopped"
        try:
            self._work_off()
            state = "finished"
        except (KeyboardInterrupt, CrewLost) as cause:
            state = "interrupted"
            raise self._interruption(cause) from cause
        except RunInterrupted:  # by the caller's on_progress
            state = "interrupted"
            raise
        finally:
            self._crew.close()
            report = self._close_books(state)
        self._judge(report)
        return report

    def _work_off(self) -> None:
        self._fill()
        while self._flying:
            outcomes = self._crew.wait()
            for outcome in outcomes:
                self._take(outcome)
            if outcomes:
                self._on_progress(self._progress())
            self._fill()
        self._on_progress(self._progress())

    def _fill(self) -> None:
        """Send out tasks until the window is full."""
        most = self._window or 2 * self._crew.threads()
        while len(self._flying) < most and (task := self._next()) is not None:
            self._tickets += 1
            self._flying[self._tickets] = task
            self._crew.submit(self._tickets, task.batch)

    def _next(self) -> _Task | None:
        if self._again:  # before fresh batches, so that what waits never exceeds the window's own parts
            return self._again.popleft()
        if (task := next(self._fresh, None)) is not None:
            return task
        while self._suspects and not self._flying:
            suspect = self._suspects.popleft()
            if self._may_pass:
                return suspect
            self._give_up(suspect, WorkerDied("Every worker that computed it died."), self._attempts)
        return None

    def _unmarked(self) -> Iterator[_Task]:
        """First attempts at what has no marker, in the plan's order."""
        for batch in self._plan.batches():
            missing = list(self._folder.missing(batch))
            self._resumed_cells += batch.cells - sum(part.cells for part in missing)
            self._resumed += not missing
            family = _Family(len(missing))
            for part in missing:
                yield _Task(part, 1, family)

    def _take(self, outcome: Outcome) -> None:
        task = self._flying.pop(outcome.ticket)
        if outcome.result is not None:
            self._account(task, outcome.result)
            return
        error = outcome.error
        assert error is not None, "an outcome has a result or an error"
        if is_storage_error(error):
            raise storage_failure(error, self._folder.place, self._kept, self._plan.batch_count) from error
        if not is_data_error(error):
            error.add_note(f"{self._title}: in batch {task.batch.id} of plan {self._plan.id}")
            raise error
        self._try_again(task, error)

    def _account(self, task: _Task, result: BatchResult) -> None:
        self._pixels += result.pixels
        self._failed.extend(result.failed)
        self._settle(task)

    def _settle(self, task: _Task) -> None:
        """Take a task off the books, computed or given up."""
        self._computed_cells += task.batch.cells
        task.family.pieces -= 1
        self._computed += task.family.pieces == 0

    def _try_again(self, task: _Task, error: BaseException) -> None:
        if task.attempt < self._attempts:
            last = task.attempt + 1 == self._attempts
            parts = list(_smallest(task.batch, self._folder)) if last else _cut(task.batch, self._folder)
            task.family.pieces += len(parts) - 1
            self._again.extend(_Task(part, task.attempt + 1, task.family) for part in parts)
        elif isinstance(error, WorkerDied) and task.attempt == self._attempts and self._may_pass:
            self._suspects.append(_Task(task.batch, task.attempt + 1, task.family))
        else:
            self._give_up(task, error, task.attempt)

    def _give_up(self, task: _Task, error: BaseException, attempts: int) -> None:
        reason = describe_error(error)
        self._failed.extend(CellFailure(cell, reason, attempts) for cell in task.batch.cell_ids())
        self._settle(task)

    @property
    def _may_pass(self) -> bool:
        return len(self._failed) <= self._allowed

    @property
    def _kept(self) -> int:
        return self._resumed + self._computed

    def _progress(self) -> Progress:
        return Progress(
            done_cells=self._resumed_cells + self._computed_cells,
            total_cells=self._plan.cell_count,
            pixels=self._pixels,
            failed=len(self._failed),
            seconds=time.monotonic() - self._started,
            resumed_cells=self._resumed_cells,
        )

    def _report(self) -> RunReport:
        return RunReport(
            plan_id=self._plan.id,
            batches=self._plan.batch_count,
            resumed=self._resumed,
            computed=self._computed,
            cells=self._plan.cell_count,
            pixels=self._pixels,
            failed=tuple(self._failed),
            seconds=time.monotonic() - self._started,
            workers=self._crew.workers(),
        )

    def _close_books(self, state: str) -> RunReport:
        report = self._report()
        try:
            self._folder.write_report(report, state=state)
        except OutputError:
            if state == "finished":
                raise
            # The error that ends the run tells more than this one.
        return report

    def _interruption(self, cause: BaseException) -> RunInterrupted:
        why = "by the user" if isinstance(cause, KeyboardInterrupt) else f"({cause})"
        return RunInterrupted(
            f"{self._title} was interrupted {why}: at least {self._kept} of {self._plan.batch_count} batches "
            f"are kept in {self._folder.place}. The same call resumes with the rest."
        )

    def _judge(self, report: RunReport) -> None:
        if self._may_pass:
            return
        first = report.failed[0]
        raise TooManyFailures(
            f"{self._title}: {len(report.failed)} of {report.cells} cells failed, and {self._allowed:.6g} "
            f"may. The first is {first.cell}, tried {first.attempts} times ({first.reason}); "
            f"{self._folder.place}/failed.parquet lists all. The same call tries only them again; "
            "a larger max_failed goes on without them."
        )


def _cut(batch: Batch, folder: RunFolder) -> list[Batch]:
    halves = batch.halves()
    if halves is None:
        return [batch]
    folder.split(batch)
    return list(halves)


def _smallest(batch: Batch, folder: RunFolder) -> Iterator[Batch]:
    """The parts of ``batch`` that cannot be cut any further."""
    parts = _cut(batch, folder)
    if len(parts) == 1:
        yield batch
        return
    for part in parts:
        yield from _smallest(part, folder)
