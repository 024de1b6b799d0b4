"""The training table, row by row as the epochs go by."""

import math
import time
from collections.abc import Sequence
from html import escape
from typing import Any, Protocol

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from rasterloom.models.history import EpochRow

_WIDTHS = {"epoch": 5, "time": 8}
_WIDTH = 10


class TrainingTable(Protocol):
    """Where the table is shown."""

    def begin(self, epoch: int, batches: int) -> None:
        """An epoch of so many batches starts, validation included."""

    def advance(self) -> None:
        """One more batch is done."""

    def add(self, row: EpochRow, *, best: bool) -> None:
        """An epoch is over; ``best`` tells whether it is the best so far."""

    def close(self) -> None:
        """No row follows, whether the run ended well or not."""


def training_table(metrics: Sequence[str], *, epochs: int, show: bool) -> TrainingTable:
    """The table that fits where the output goes: a notebook, a terminal, a file, or nowhere."""
    console = Console()
    if not show:
        return NoTable()
    columns = ("epoch", "train_loss", "valid_loss", *metrics, "time")
    if console.is_jupyter:
        return NotebookTable(columns, epochs=epochs)
    return TerminalTable(columns, epochs=epochs, console=console)


def cells(row: EpochRow, columns: Sequence[str]) -> list[str]:
    """The row's entries as text, in the order of the columns."""
    special = {"epoch": str(row.epoch), "time": _clock(row.seconds)}
    return [special[name] if name in special else _number(row.value(name)) for name in columns]


class NoTable:
    """Shows nothing."""

    def begin(self, epoch: int, batches: int) -> None: ...

    def advance(self) -> None: ...

    def add(self, row: EpochRow, *, best: bool) -> None: ...

    def close(self) -> None: ...


class TerminalTable:
    """One line for each epoch; in a terminal also a bar while an epoch runs."""

    def __init__(self, columns: Sequence[str], *, epochs: int, console: Console) -> None:
        self._columns, self._epochs, self._console = columns, epochs, console
        self._headed = False
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def begin(self, epoch: int, batches: int) -> None:
        if not self._headed:
            self._line(list(self._columns), "bold")
            self._headed = True
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(f"epoch {epoch} of {self._epochs}", total=batches)

    def advance(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._task)

    def add(self, row: EpochRow, *, best: bool) -> None:
        self.close()
        self._line(cells(row, self._columns), "green" if best else "")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _line(self, texts: Sequence[str], style: str) -> None:
        line = "  ".join(
            text.rjust(_WIDTHS.get(name, _WIDTH)) for name, text in zip(self._columns, texts, strict=True)
        )
        self._console.print(line, style=style or None, highlight=False, markup=False, soft_wrap=True)


class NotebookTable:
    """One table that grows in place, with a line below it while an epoch runs."""

    _EVERY = 0.5
    """Seconds between two refreshes of the line."""

    def __init__(self, columns: Sequence[str], *, epochs: int) -> None:
        self._columns, self._epochs = columns, epochs
        self._rows: list[str] = []
        self._running = ""
        self._done = self._batches = 0
        self._shown_at = -math.inf
        self._handle: Any = None

    def begin(self, epoch: int, batches: int) -> None:
        self._running, self._done, self._batches = f"epoch {epoch} of {self._epochs}", 0, batches
        self._show()

    def advance(self) -> None:
        self._done += 1
        if time.monotonic() - self._shown_at > self._EVERY:
            self._show()

    def add(self, row: EpochRow, *, best: bool) -> None:
        texts = "".join(f"<td>{escape(text)}</td>" for text in cells(row, self._columns))
        style = ' style="font-weight: bold"' if best else ""
        self._rows.append(f"<tr{style}>{texts}</tr>")
        self._running = ""
        self._show()

    def close(self) -> None:
        if self._running:
            self._running = ""
            self._show()

    def html(self) -> str:
        """The table as it stands."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self._columns)
        line = f"<p>{self._running}: {self._done} of {self._batches} batches</p>" if self._running else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(self._rows)}</tbody></table>{line}"

    def _show(self) -> None:
        from IPython.display import display

        self._shown_at = time.monotonic()
        if self._handle is None:
            shown = {"text/html": self.html()}
            self._handle = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call] # IPython ships untyped
        else:
            self._handle.update({"text/html": self.html()}, raw=True)


class Progression(Callback):
    """Tells a table how far the running epoch is."""

    def __init__(self, table: TrainingTable) -> None:
        self._table = table

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        validation = sum(int(n) for n in trainer.num_val_batches)
        self._table.begin(trainer.current_epoch + 1, int(trainer.num_training_batches) + validation)

    def on_train_batch_end(self, *_: Any) -> None:
        self._table.advance()

    def on_validation_batch_end(self, *_: Any) -> None:
        self._table.advance()


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
