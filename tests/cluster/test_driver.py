import json
import sys
from collections import Counter
from pathlib import Path
from subprocess import run

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import Progress
from rasterloom.cluster.markers import RunFolder
from rasterloom.models.errors import OutputError, RunInterrupted, SettingError, TooManyFailures
from tests.cluster.plans import PIXELS_PER_CELL, SpanPlan, count_cells, return_nothing, write_cells


def run_here(plan, folder=None, **keywords):
    folder = folder or RunFolder(Path(plan.folder) / "_run")
    return execute(None, plan, write_cells, folder, **keywords)


@settings(max_examples=15, deadline=None)
@given(cells=st.integers(0, 40), size=st.integers(1, 9), threads=st.integers(1, 4), data=st.data())
def test_every_good_cell_is_written_and_every_bad_one_reported(tmp_path_factory, cells, size, threads, data):
    bad = data.draw(st.sets(st.integers(0, max(cells - 1, 0)), max_size=4)) if cells else set()
    kinds = st.sampled_from(["read", "memory", "network"])
    trouble = tuple((cell, data.draw(kinds)) for cell in sorted(bad))
    plan = SpanPlan(str(tmp_path_factory.mktemp("run")), cells, size, trouble)
    report = run_here(plan, max_failed=1, threads=threads)
    assert plan.written() == plan.expected(without=tuple(bad))
    assert {failure.cell for failure in report.failed} == {f"cell-{cell}" for cell in bad}
    assert all(failure.attempts == 3 for failure in report.failed)
    assert report.pixels == PIXELS_PER_CELL * (cells - len(bad))
    assert (report.batches, report.computed, report.resumed) == (plan.batch_count, plan.batch_count, 0)


@settings(max_examples=10, deadline=None)
@given(attempts=st.integers(1, 5), size=st.integers(1, 16))
def test_no_cell_is_tried_more_often_than_asked(tmp_path_factory, attempts, size):
    plan = SpanPlan(str(tmp_path_factory.mktemp("run")), 16, size, ((5, "read"),))
    report = run_here(plan, attempts=attempts, max_failed=1)
    tries = [id for id in plan.starts() if int(id[:7]) <= 5 < int(id[8:])]
    assert len(tries) == attempts
    assert {failure.attempts for failure in report.failed} == {attempts}
    if attempts > 1:
        assert [failure.cell for failure in report.failed] == ["cell-5"]


def test_an_error_that_passes_costs_nothing_but_another_attempt(tmp_path):
    plan = SpanPlan(str(tmp_path), 12, 4, ((5, "once network"), (9, "once memory")))
    report = run_here(plan)
    assert report.failed == ()
    assert plan.written() == plan.expected()


def test_too_many_failures_are_raised_after_all_else_is_done(tmp_path):
    plan = SpanPlan(str(tmp_path), 40, 4, ((5, "read"),))
    with pytest.raises(TooManyFailures, match=r"Job: 1 of 40 cells failed, and 0.4 may.*cell-5.*corrupt"):
        run_here(plan, title="Job")
    assert plan.written() == plan.expected(without=(5,))
    table = pd.read_parquet(tmp_path / "_run" / "failed.parquet")
    assert table.to_dict("list") == {"cell": ["cell-5"], "reason": ["tile 5 is corrupt"], "attempts": [3]}
    assert json.loads((tmp_path / "_run" / "run.json").read_text())["state"] == "finished"


def test_as_many_failures_as_allowed_pass(tmp_path):
    plan = SpanPlan(str(tmp_path), 40, 4, ((5, "read"),))
    assert len(run_here(plan, max_failed=1 / 40).failed) == 1


def test_the_next_run_tries_only_failed_cells_again(tmp_path):
    plan = SpanPlan(str(tmp_path), 40, 4, ((5, "read"), (20, "inside")))
    assert len(run_here(plan, max_failed=0.1).failed) == 2
    before = plan.starts()
    healed = SpanPlan(str(tmp_path), 40, 4)
    report = run_here(healed)
    again = Counter(healed.starts()) - Counter(before)
    assert sorted(again) == ["0000005-0000006", "0000020-0000024"]
    assert report.failed == ()
    assert healed.written() == healed.expected()
    summaries = RunFolder(tmp_path / "_run").results()
    assert sum(result.summary["sum"] for result in summaries) == sum(range(40))


def test_a_second_run_computes_nothing(tmp_path):
    plan = SpanPlan(str(tmp_path), 10, 3)
    run_here(plan)
    before = plan.starts()
    seen: list[Progress] = []
    report = run_here(plan, on_progress=seen.append)
    assert plan.starts() == before
    assert (report.resumed, report.computed, report.pixels) == (4, 0, 0)
    assert seen[-1].done_cells == seen[-1].resumed_cells == 10


def test_an_interrupted_run_keeps_its_batches_and_resumes(tmp_path):
    plan = SpanPlan(str(tmp_path), 40, 4)

    def press_ctrl_c(progress):
        if progress.done_cells >= 12:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match=r"Job was interrupted by the user: at least \d of 10 .*resumes"):
        run_here(plan, on_progress=press_ctrl_c, title="Job")
    run_json = json.loads((tmp_path / "_run" / "run.json").read_text())
    assert run_json["state"] == "interrupted"
    assert run_json["versions"]["python"] == sys.version.split()[0]
    assert len(pd.read_parquet(tmp_path / "_run" / "failed.parquet")) == 0
    kept = len(list((tmp_path / "_run" / "done").iterdir()))
    assert 3 <= kept < 10
    report = run_here(plan)
    assert (report.resumed, report.computed) == (kept, 10 - kept)
    assert len(plan.starts()) == 10
    assert plan.written() == plan.expected()


def test_a_mistake_in_the_program_stops_the_run_at_once(tmp_path):
    plan = SpanPlan(str(tmp_path), 4000, 4, ((5, "type"),))
    with pytest.raises(TypeError, match="cell 5 is not a number") as caught:
        run_here(plan, title="Job")
    assert caught.value.__notes__ == ["Job: in batch 0000004-0000008 of plan spans-4000-4"]
    assert len(plan.starts()) < 100
    assert plan.starts().count("0000004-0000008") == 1
    assert json.loads((tmp_path / "_run" / "run.json").read_text())["state"] == "stopped"


def test_a_function_that_reports_nothing_is_a_mistake(tmp_path):
    with pytest.raises(AttributeError):
        execute(None, SpanPlan(str(tmp_path), 4), return_nothing, RunFolder(tmp_path))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "full",
            r"No space left on device.*About .* MB more are needed and .* of 20 batches are kept",
        ),
        ("forbidden", r"Permission denied: /outputs/map.tif.*Make the folder writable"),
        ("output", "the object store said no .*the same call resumes"),
    ],
)
def test_a_failed_write_surfaces_once_and_says_what_is_needed(tmp_path, kind, words):
    plan = SpanPlan(str(tmp_path), 80, 4, ((41, kind),))
    with pytest.raises(OutputError, match=words):
        run_here(plan, threads=1)
    assert plan.starts().count("0000040-0000044") == 1
    assert len(plan.starts()) < 20


def test_batches_are_taken_from_the_generator_as_they_are_needed(tmp_path):
    taken, seen = [], []

    class Counting(SpanPlan):
        def batches(self):
            for batch in super().batches():
                taken.append(batch)
                yield batch

    plan = Counting(str(tmp_path), 20_000, 20)
    report = execute(
        None,
        plan,
        count_cells,
        RunFolder(tmp_path),
        window=5,
        threads=2,
        on_progress=lambda progress: seen.append(len(taken) - progress.done_cells // 20),
    )
    assert report.computed == len(taken) == 1000
    assert max(seen) <= 5


def test_a_run_without_a_client_does_not_import_distributed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from rasterloom.cluster.driver import execute; "
        "from rasterloom.cluster.markers import RunFolder; from tests.cluster.plans import *; "
        f"execute(None, SpanPlan({str(tmp_path)!r}, 8), write_cells, RunFolder({str(tmp_path)!r})); "
        "print('distributed' in sys.modules, 'dask' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    told = run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert told.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"max_failed": 1.5}, "use 0 to 1"),
        ({"attempts": 0}, "attempts=0"),
        ({"window": 0}, "window=0"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, wrong, words):
    with pytest.raises(SettingError, match=words):
        run_here(SpanPlan(str(tmp_path), 4), **wrong)


def test_what_is_no_client_is_refused(tmp_path):
    with pytest.raises(SettingError, match="is no Dask client"):
        execute("tcp://x:1", SpanPlan(str(tmp_path), 4), write_cells, RunFolder(tmp_path))  # type: ignore[arg-type] # the mistake under test
