import io

import pytest
from rich.console import Console

from rasterloom.cluster.jobs import Progress
from rasterloom.cluster.progress import describe, progress_bar, seconds_left


def text_of(console):
    return console.file.getvalue()


def test_a_log_gets_one_line_for_every_tenth():
    console = Console(file=io.StringIO(), width=40)
    with progress_bar("Classifying", console=console) as on_progress:
        for done in range(1001):
            on_progress(Progress(done, 1000, done * 1_000_000, 0, 10.0))
    lines = text_of(console).splitlines()
    assert len(lines) == 10
    assert lines[0] == "Classifying: 10 % (10 Mpx/s, 1:30 left)"
    assert lines[-1] == "Classifying: 100 % (100 Mpx/s, took 0:10)"


def test_a_terminal_gets_a_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=120, _environ={"TERM": "xterm"})
    with progress_bar("Classifying [a]", console=console) as on_progress:
        on_progress(Progress(50, 100, 5000, 2, 10.0))
    assert "Classifying [a]" in text_of(console)
    assert "50%" in text_of(console)
    assert "500 px/s, 0:10 left, 2 cells failed" in text_of(console)


def test_nothing_is_shown_when_nothing_is_asked_for(capfd):
    with progress_bar("Classifying", show=False) as on_progress:
        on_progress(Progress(100, 100, 5000, 2, 10.0))
    assert capfd.readouterr() == ("", "")


def test_lines_go_to_standard_error(capfd):
    with progress_bar("Classifying") as on_progress:
        on_progress(Progress(100, 100, 5000, 1, 10.0))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "Classifying: 100 % (500 px/s, took 0:10, 1 cell failed)\n"


@pytest.mark.parametrize(
    ("progress", "left"),
    [
        (Progress(0, 100, 0, 0, 5.0), None),
        (Progress(90, 100, 0, 0, 5.0, resumed_cells=90), None),
        (Progress(95, 100, 0, 0, 5.0, resumed_cells=90), 5.0),
        (Progress(100, 100, 0, 0, 5.0), 0.0),
        (Progress(0, 0, 0, 0, 0.0), 0.0),
    ],
)
def test_the_time_left_is_reckoned_from_what_this_run_computed(progress, left):
    assert seconds_left(progress) == left


@pytest.mark.parametrize(
    ("rate", "words"), [(1, "1 px/s"), (999.9, "1 kpx/s"), (12_345, "12.3 kpx/s"), (4.56e9, "4.56 Gpx/s")]
)
def test_rates_are_told_with_three_digits(rate, words):
    assert describe(Progress(1, 2, round(rate * 1000), 0, 1000.0)).startswith(words)


def test_an_empty_job_is_finished_at_once():
    console = Console(file=io.StringIO())
    with progress_bar("Nothing", console=console) as on_progress:
        on_progress(Progress(0, 0, 0, 0, 0.0))
    assert text_of(console).startswith("Nothing: 100 %")


def test_a_notebook_without_ipywidgets_gets_lines_and_no_complaint(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    console = Console(file=io.StringIO(), force_jupyter=True, width=80)
    shown = []
    monkeypatch.setattr("rich.jupyter.display", lambda segments, text: shown.append(text))
    with progress_bar("Classifying", console=console) as on_progress:
        on_progress(Progress(50, 100, 5000, 1, 10.0))
        on_progress(Progress(100, 100, 10_000, 1, 20.0))
    assert [text.strip() for text in shown] == [
        "Classifying: 50 % (500 px/s, 0:10 left, 1 cell failed)",
        "Classifying: 100 % (500 px/s, took 0:20, 1 cell failed)",
    ]
