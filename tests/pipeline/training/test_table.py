"""The training table in a terminal, a file and a notebook."""

import io
import math

import pytest
from rich.console import Console

from rasterloom.models.history import EpochRow
from rasterloom.pipeline.training import table
from rasterloom.pipeline.training.table import NoTable, NotebookTable, TerminalTable, training_table

COLUMNS = ("epoch", "train_loss", "valid_loss", "miou", "time")


def row(epoch, seconds=61.0):
    return EpochRow(epoch, 0.51234, math.nan, {"miou": 0.75}, seconds)


def shown(console, output):
    there = TerminalTable(COLUMNS, epochs=2, console=console)
    there.begin(1, 3)
    there.advance()
    there.add(row(1), best=True)
    there.begin(2, 3)
    there.close()
    return output.getvalue()


def test_a_file_gets_one_line_for_each_epoch():
    output = io.StringIO()
    text = shown(Console(file=output, width=20), output)
    header, line = text.splitlines()
    assert header.split() == list(COLUMNS)
    assert line.split() == ["1", "0.5123", "-", "0.7500", "01:01"]
    assert len(header) == len(line)


def test_a_terminal_also_gets_a_bar_that_goes_away():
    output = io.StringIO()
    text = shown(Console(file=output, force_terminal=True, width=100), output)
    assert "epoch 1 of 2" in text
    assert "0.7500" in text


def test_a_notebook_gets_one_table_that_grows(monkeypatch):
    there = NotebookTable(COLUMNS, epochs=2)
    displays = []
    monkeypatch.setattr(NotebookTable, "_show", lambda self: displays.append(self.html()))
    there.begin(1, 3)
    there.advance()
    there.add(row(1, seconds=3700), best=True)
    there.begin(2, 3)
    there.close()
    assert "epoch 1 of 2: 1 of 3 batches" in displays[1]
    assert displays[-1].count("<tr") == 2
    assert "1:01:40" in displays[-1]
    assert "<p>" not in displays[-1]


def test_a_notebook_is_shown_through_one_handle(monkeypatch):
    display = pytest.importorskip("IPython.display")
    calls = []

    class Handle:
        def update(self, content, raw):
            calls.append(content)

    monkeypatch.setattr(display, "display", lambda content, **kwargs: calls.append(kwargs) or Handle())
    there = NotebookTable(COLUMNS, epochs=1)
    there.begin(1, 1)
    there.add(row(1), best=False)
    assert calls[0] == {"raw": True, "display_id": True}
    assert "0.7500" in calls[1]["text/html"]


def test_the_place_decides_the_form(monkeypatch):
    assert isinstance(training_table(["miou"], epochs=1, show=False), NoTable)
    assert isinstance(training_table(["miou"], epochs=1, show=True), TerminalTable)
    monkeypatch.setattr(table, "Console", lambda: Console(force_jupyter=True))
    assert isinstance(training_table(["miou"], epochs=1, show=True), NotebookTable)
