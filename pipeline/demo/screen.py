"""What the demo says while it runs, and how long each part takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rasterloom.pipeline.reports.page import StageTime, duration


class Screen:
    """Announces stages and keeps their times."""

    def __init__(self, *, stages: int, show: bool) -> None:
        self._console = Console(quiet=not show, highlight=False)
        self._count = stages
        self.times: list[StageTime] = []

    def open(self, title: str, line: str) -> None:
        """Say what is about to happen."""
        self._console.print(f"\n[bold]{title}[/bold]  [dim]{line}[/dim]\n")

    @contextmanager
    def stage(self, name: str, words: str) -> Iterator["Remarks"]:
        """Announce a stage, run the block, and tell how long it took and what came of it."""
        number = f"{len(self.times) + 1}/{self._count}"
        self._console.print(f"[bold cyan]{number}[/bold cyan] [bold]{name}[/bold]  [dim]{words}[/dim]")
        remarks, begin = Remarks(), time.perf_counter()
        yield remarks
        seconds = time.perf_counter() - begin
        self.times.append(StageTime(name, seconds, remarks.text))
        self._console.print(Text(f"    {duration(seconds)}  ", style="green") + Text(remarks.text))

    def close(self, headline: str, rows: list[tuple[str, str]], next_steps: list[str]) -> None:
        """Show where everything is and what to try next."""
        table = Table.grid(padding=(0, 2))
        for path, what in rows:
            table.add_row(Text(path, style="cyan", overflow="fold"), Text(what, style="dim"))
        self._console.print()
        self._console.print(
            Panel(table, title=Text(headline, style="bold"), title_align="left", expand=False)
        )
        self._console.print("Try next:", style="bold")
        for step in next_steps:
            self._console.print(Text(f"    {step}"), soft_wrap=True)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage so far, by its name in lower case."""
        return {stage.name.lower(): round(stage.seconds, 2) for stage in self.times}


class Remarks:
    """What came of a stage, filled in while it runs."""

    text = ""
