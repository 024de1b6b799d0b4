"""Shows how far a run has come: a bar where someone watches, plain lines where a log is kept."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress as Bars, TaskProgressColumn, TextColumn

from rasterloom.cluster.jobs import Progress

OnProgress = Callable[[Progress], None]


@contextmanager
def progress_bar(title: str, show: bool = True, *, console: Console | None = None) -> Iterator[OnProgress]:
    """Give a callback that shows progress as ``title`` until the block ends.

    In a terminal or notebook that is a bar with the rate, the time left and the failures; elsewhere one line
    for every tenth of the work. All goes to standard error, so that results on standard output stay clean.

    Parameters
    ----------
    title
        What is being done.
    show
        False shows nothing.
    console
        Where to show it instead of standard error.
    """
    console = console or Console(stderr=True)
    if not show:
        yield _ignore
    elif _shows_bars(console):
        with _bars(console) as bars:
            yield _Bar(bars, title)
    else:
        yield _Lines(console, title)


def describe(progress: Progress) -> str:
    """Rate, time left and failures in words: "12.3 Mpx/s, 1:05 left, 2 cells failed"."""
    parts = []
    if progress.pixels and progress.seconds:
        parts.append(f"{_scaled(progress.pixels / progress.seconds)}px/s")
    left = seconds_left(progress)
    if left is None or progress.done_cells >= progress.total_cells:
        parts.append(
            f"{_clock(progress.seconds)} so far" if left is None else f"took {_clock(progress.seconds)}"
        )
    else:
        parts.append(f"{_clock(left)} left")
    if progress.failed:
        parts.append(f"{progress.failed} cell{'s' if progress.failed > 1 else ''} failed")
    return ", ".join(parts)


def seconds_left(progress: Progress) -> float | None:
    """Estimate from the cells computed in this run; None before the first one."""
    computed = progress.done_cells - progress.resumed_cells
    if progress.done_cells >= progress.total_cells:
        return 0.0
    if computed <= 0:
        return None
    return (progress.total_cells - progress.done_cells) * progress.seconds / computed


class _Bar:
    def __init__(self, bars: Bars, title: str) -> None:
        self._bars = bars
        self._task = bars.add_task(title, total=None, words="")

    def __call__(self, progress: Progress) -> None:
        self._bars.update(
            self._task,
            completed=progress.done_cells,
            total=progress.total_cells,
            words=describe(progress),
        )


class _Lines:
    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title, self._told = console, title, -1

    def __call__(self, progress: Progress) -> None:
        tenth = 10 * progress.done_cells // max(progress.total_cells, 1)
        if progress.total_cells == 0:
            tenth = 10
        if tenth <= max(self._told, 0):
            return
        self._told = tenth
        line = f"{self._title}: {10 * tenth} % ({describe(progress)})"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _ignore(progress: Progress) -> None:
    """Show nothing."""


def _shows_bars(console: Console) -> bool:
    if console.is_jupyter:
        # rich draws in notebooks through ipywidgets, and prints a complaint for every update without them.
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal and not console.is_dumb_terminal


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        console=console,
        refresh_per_second=4,
    )


def _scaled(value: float) -> str:
    units = ["", "k", "M", "G"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if value >= 100 else f"{value:.3g} {units[0]}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
