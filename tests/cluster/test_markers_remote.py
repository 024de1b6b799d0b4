"""A run's folder in an object store is what it is on a disk."""

import errno
import io
import json
import pickle
import uuid

import pandas as pd
import pytest

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import CellFailure
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.start import connect
from rasterloom.models.errors import OutputError, RunInterrupted, SettingError
from tests.cluster.plans import Span, SpanPlan, write_cells
from tests.cluster.test_markers import REPORT, result_of


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "s3":
        return Place.of(request.getfixturevalue("bucket")) / "out" / "_run"
    return Place.of(f"memory://{uuid.uuid4().hex}/_run")


def test_what_was_marked_is_read_back_in_the_order_of_ids(place):
    folder = RunFolder(place)
    folder.prepare()
    for start in range(0, 600, 10):
        folder.mark(result_of(Span(start, start + 10)))
    folder.mark(result_of(Span(700, 708), failed=(CellFailure("cell-701", "corrupt", 1),)))
    fresh = RunFolder(place.url)
    assert fresh.done(Span(0, 10))
    assert not fresh.done(Span(700, 708))
    assert [result.batch for result in fresh.results()] == [
        *(Span(start, start + 10).id for start in range(0, 600, 10)),
        Span(700, 708).id,
    ]
    assert pickle.loads(pickle.dumps(folder)).done(Span(10, 20))


def test_splits_and_failures_are_kept_and_forgotten(place):
    folder, batch = RunFolder(place), Span(0, 8)
    folder.mark(result_of(batch, failed=(CellFailure("cell-1", "corrupt", 1),)))
    folder.split(batch)
    left, right = batch.halves()
    folder.mark(result_of(left))
    fresh = RunFolder(place)
    assert list(fresh.missing(batch)) == [right]
    assert [result.batch for result in fresh.results()] == [left.id]
    folder.tiles.write("a.tif", b"1")
    folder.write_report(REPORT)
    folder.clear()
    assert list(RunFolder(place).missing(batch)) == [batch]
    assert place.names() == set()
    assert folder.tiles.names() == {"a.tif"}


def test_the_report_says_how_the_run_went(place):
    RunFolder(place).write_report(REPORT, state="interrupted")
    assert json.loads(place.read("run.json"))["state"] == "interrupted"
    assert len(pd.read_parquet(io.BytesIO(place.read("failed.parquet")))) == 1


def test_only_a_folder_of_this_machine_has_a_path(place):
    with pytest.raises(SettingError, match="no folder of this machine"):
        _ = RunFolder(place).path


def test_a_store_that_refuses_says_so_without_figures(bucket):
    with pytest.raises(OutputError, match=r"cannot be written \(.*bucket does not exist\)\. Free") as caught:
        RunFolder(f"{bucket}-gone/run").mark(result_of(Span(0, 8)))
    assert "not-so-secret" not in str(caught.value)
    assert caught.value.errno != errno.ENOSPC


def test_an_interrupted_run_resumes_from_its_markers_in_a_store(bucket, tmp_path):
    run, plan = f"{bucket}/out/_run", SpanPlan(str(tmp_path), 40, 4)

    def press_ctrl_c(progress):
        if progress.done_cells >= 12:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match=rf"are kept in {run}"):
        execute(None, plan, write_cells, RunFolder(run), on_progress=press_ctrl_c)
    kept = len((Place.of(run) / "done").names())
    assert 3 <= kept < 10
    with connect(n_workers=1, dashboard=False) as client:  # its process sees this test's environment
        report = execute(client, plan, write_cells, RunFolder(run))
    assert (report.resumed, report.computed) == (kept, 10 - kept)
    assert plan.written() == plan.expected()
