import json
import pickle
import time
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.cluster.jobs import BatchResult, CellFailure, RunReport
from rasterloom.cluster.markers import RunFolder
from rasterloom.models.errors import OutputError, SettingError
from tests.cluster.plans import Span, SpanPlan

REPORT = RunReport("p", 4, 1, 3, 16, 1000, (CellFailure("cell-3", "corrupt", 3),), 2.0, 2)


def result_of(batch, **changes):
    return replace(BatchResult(batch.id, batch.cells, 10, 0.5, (), {"sum": batch.start}), **changes)


def test_a_batch_is_done_when_it_is_marked(tmp_path):
    folder, batch = RunFolder(tmp_path), Span(0, 8)
    assert not folder.done(batch)
    folder.mark(result_of(batch))
    assert folder.done(batch)
    assert RunFolder(tmp_path).done(batch)
    assert not RunFolder(tmp_path).done(Span(0, 4))


def test_what_was_marked_is_read_back(tmp_path):
    result = result_of(
        Span(0, 8), failed=(CellFailure("cell-1", "corrupt", 1),), summary={"a": [1, 2.5, None]}
    )
    RunFolder(tmp_path).mark(result)
    assert list(RunFolder(tmp_path).results()) == [result]


@settings(max_examples=30, deadline=None)
@given(marked=st.sets(st.integers(0, 7)))
def test_a_split_batch_is_done_when_all_its_parts_are(tmp_path_factory, marked):
    path = tmp_path_factory.mktemp("run")
    folder = RunFolder(path)
    waiting, singles = [Span(0, 8)], []
    while waiting:
        batch = waiting.pop()
        folder.split(batch)
        if halves := batch.halves():
            waiting.extend(halves)
        else:
            singles.append(batch)
    for single in singles:
        if single.start in marked:
            folder.mark(result_of(single))
    fresh = RunFolder(path)
    assert fresh.done(Span(0, 8)) == (len(marked) == 8)
    assert {part.start for part in fresh.missing(Span(0, 8))} == set(range(8)) - marked


def test_parts_of_a_batch_that_was_finished_late_are_not_reported_twice(tmp_path):
    folder, whole = RunFolder(tmp_path), Span(0, 8)
    left, right = whole.halves()
    quarter = left.halves()[0]
    for batch in (whole, left):
        folder.split(batch)
    for batch in (quarter, right, whole):
        folder.mark(result_of(batch))
    assert [result.batch for result in RunFolder(tmp_path).results()] == [whole.id]


def test_a_batch_with_failed_cells_is_reported_but_not_done(tmp_path):
    folder, batch = RunFolder(tmp_path), Span(0, 8)
    folder.mark(result_of(batch, failed=(CellFailure("cell-1", "corrupt", 1),)))
    assert not RunFolder(tmp_path).done(batch)
    assert len(list(RunFolder(tmp_path).results())) == 1
    folder.mark(result_of(batch))
    assert RunFolder(tmp_path).done(batch)
    assert [result.failed for result in RunFolder(tmp_path).results()] == [()]


def test_a_batch_that_cannot_be_cut_is_not_split(tmp_path):
    folder = RunFolder(tmp_path)
    folder.split(Span(3, 4))
    assert not (tmp_path / "split").exists()


def test_no_temporary_file_stays(tmp_path):
    folder = RunFolder(tmp_path)
    folder.mark(result_of(Span(0, 8)))
    folder.write_report(REPORT)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_the_report_says_how_the_run_went(tmp_path):
    RunFolder(tmp_path).write_report(REPORT, state="interrupted")
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["state"] == "interrupted"
    assert told["plan_id"] == "p"
    assert told["pixels_per_second"] == 500
    assert told["failed"] == 1
    assert {"python", "dask", "rasterloom"} <= set(told["versions"])
    assert pd.read_parquet(tmp_path / "failed.parquet").to_dict("records") == [
        {"cell": "cell-3", "reason": "corrupt", "attempts": 3}
    ]


def test_clearing_forgets_all_but_the_outputs(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare()
    folder.tiles.write("a.tif", b"")
    folder.split(Span(8, 16))
    folder.mark(result_of(Span(0, 8)))
    folder.write_report(REPORT)
    folder.clear()
    assert not folder.done(Span(0, 8))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.tif"]


def test_a_large_summary_is_refused(tmp_path):
    with pytest.raises(SettingError, match="use 10000 or less"):
        RunFolder(tmp_path).mark(result_of(Span(0, 8), summary={"rows": list(range(5000))}))


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").touch()
    for write in (
        lambda folder: folder.prepare(),
        lambda folder: folder.mark(result_of(Span(0, 8))),
        lambda folder: folder.write_report(REPORT),
    ):
        with pytest.raises(OutputError, match="cannot be written"):
            write(RunFolder(tmp_path / "file"))


def test_a_folder_travels_to_workers(tmp_path):
    folder = RunFolder(tmp_path)
    folder.mark(result_of(Span(0, 8)))
    assert pickle.loads(pickle.dumps(folder)).done(Span(0, 8))


def test_asking_for_a_hundred_thousand_batches_lists_the_folder_once(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.mark(result_of(Span(0, 8)))
    folder.split(Span(8, 16))
    fresh = RunFolder(tmp_path)
    fresh.done(Span(0, 8))
    monkeypatch.setattr("os.scandir", None)
    began = time.perf_counter()
    done = [batch for batch in SpanPlan("", 800_000, 8).batches() if fresh.done(batch)]
    assert done == [Span(0, 8)]
    assert time.perf_counter() - began < 5
