import os
import signal

import pytest

from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.start import connect
from rasterloom.models.errors import OutputError, RunInterrupted, SettingError
from tests.cluster.plans import SpanPlan, write_cells


def run_there(client, plan, page):
    folder = RunFolder(f"{plan.folder}/_run")
    return execute(client, plan, write_cells, folder, performance_report=page)


def test_a_page_shows_the_run(pair, tmp_path):
    page = tmp_path / "new" / "run.html"
    report = run_there(pair, SpanPlan(str(tmp_path), 12, 4), page)
    assert report.computed == 3
    assert "rasterloom-batch" in page.read_text()


def test_a_run_that_fails_leaves_its_page_and_its_own_error(pair, tmp_path):
    page = tmp_path / "run.html"
    with pytest.raises(TypeError, match="cell 5 is not a number"):
        run_there(pair, SpanPlan(str(tmp_path), 12, 4, ((5, "type"),)), str(page))
    assert "<html" in page.read_text()


def test_a_page_needs_a_cluster_to_show(tmp_path):
    with pytest.raises(SettingError, match=r"performance_report='run.html'.*pass a client"):
        run_there(None, SpanPlan(str(tmp_path), 12, 4), "run.html")


def test_a_page_that_cannot_be_written_is_refused_before_any_work(pair, tmp_path):
    (tmp_path / "file").touch()
    plan = SpanPlan(str(tmp_path), 12, 4)
    with pytest.raises(OutputError, match="name another file"):
        run_there(pair, plan, tmp_path / "file" / "run.html")
    assert plan.starts() == []


def test_a_lost_scheduler_is_told_and_leaves_no_empty_page(tmp_path):
    page, plan = tmp_path / "run.html", SpanPlan(str(tmp_path), 80, 4, seconds=0.02)
    with connect(n_workers=1, dashboard=False) as client:
        scheduler = [client.run_on_scheduler(os.getpid)]

        def kill(progress):
            if scheduler:
                os.kill(scheduler.pop(), signal.SIGKILL)

        with pytest.raises(RunInterrupted, match="scheduler was lost"):
            execute(
                client,
                plan,
                write_cells,
                RunFolder(tmp_path / "_run"),
                on_progress=kill,
                performance_report=page,
            )
    assert not page.exists()
