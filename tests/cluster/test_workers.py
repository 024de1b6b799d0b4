import json
import os
import signal
import time

import dask
import psutil
import pytest
from distributed import Client, Future, LocalCluster

from rasterloom.cluster import workers
from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.start import connect
from rasterloom.models.errors import OutputError, RunInterrupted, SettingError
from tests.cluster.plans import SpanPlan, count_cells, return_nothing, write_cells


def run_there(client, plan, folder=None, **keywords):
    return execute(client, plan, write_cells, folder or RunFolder(f"{plan.folder}/_run"), **keywords)


def tasks_of(client) -> int:
    return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_cluster_writes_what_this_process_writes(pair, tmp_path):
    there = SpanPlan(str(tmp_path / "there"), 50, 7, ((11, "read"), (30, "once memory")))
    here = SpanPlan(str(tmp_path / "here"), 50, 7, ((11, "read"), (30, "once memory")))
    report = run_there(pair, there, max_failed=0.1)
    execute(None, here, write_cells, RunFolder(f"{here.folder}/_run"), max_failed=0.1)
    assert there.written() == here.written() == here.expected(without=(11,))
    assert [failure.cell for failure in report.failed] == ["cell-11"]
    assert report.workers == 2
    names = [sorted(p.name for p in (tmp_path / w / "_run" / "done").iterdir()) for w in ("here", "there")]
    assert names[0] == names[1]


def test_the_scheduler_never_holds_more_than_the_window(pair, tmp_path):
    plan = SpanPlan(str(tmp_path), 20_000, 50)
    counts, flying = [], []

    def watch(progress):
        if progress.done_cells % 1000 == 0:
            counts.append(tasks_of(pair))
        flying.append(len(pair.futures))

    report = execute(pair, plan, count_cells, RunFolder(tmp_path), window=6, on_progress=watch)
    assert report.computed == 400
    assert len(counts) > 5
    assert max(counts) <= 6 + 10
    assert max(flying) <= 6
    wait_until(lambda: tasks_of(pair) == 0)


def test_the_window_follows_the_threads_of_the_cluster(pair, tmp_path):
    flying = []
    plan = SpanPlan(str(tmp_path), 40, 1)
    run_there(pair, plan, on_progress=lambda progress: flying.append(len(pair.futures)))
    assert 2 < max(flying) <= 4


def test_a_mistake_in_the_program_surfaces_from_a_worker(pair, tmp_path):
    plan = SpanPlan(str(tmp_path), 4000, 4, ((5, "type"),))
    with pytest.raises(TypeError, match="cell 5 is not a number") as caught:
        run_there(pair, plan)
    assert "in batch 0000004-0000008" in caught.value.__notes__[-1]
    assert len(plan.starts()) < 100
    wait_until(lambda: tasks_of(pair) == 0)


def test_a_function_that_reports_nothing_is_a_mistake_there_too(pair, tmp_path):
    with pytest.raises(AttributeError):
        execute(pair, SpanPlan(str(tmp_path), 4), return_nothing, RunFolder(tmp_path))


def test_a_full_disk_surfaces_once_from_a_worker(pair, tmp_path):
    plan = SpanPlan(str(tmp_path), 80, 4, ((41, "full"),))
    with pytest.raises(OutputError, match="No space left on device"):
        run_there(pair, plan)
    assert plan.starts().count("0000040-0000044") == 1


def test_ctrl_c_cancels_and_the_same_call_resumes(pair, tmp_path):
    plan = SpanPlan(str(tmp_path), 80, 4, seconds=0.02)

    def press_ctrl_c(progress):
        if progress.done_cells >= 20:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match="interrupted by the user"):
        run_there(pair, plan, on_progress=press_ctrl_c)
    wait_until(lambda: tasks_of(pair) == 0 and not any(pair.processing().values()))
    time.sleep(0.2)  # what ran on a worker ends there
    kept = len(list((tmp_path / "_run" / "done").iterdir()))
    report = run_there(pair, plan)
    assert (report.resumed, report.computed) == (kept, 20 - kept)
    assert len(plan.starts()) == 20
    assert plan.written() == plan.expected()


def test_batches_that_were_dropped_by_the_cluster_are_sent_again(pair, tmp_path):
    plan = SpanPlan(str(tmp_path), 24, 4, seconds=0.05)
    dropped = []

    def drop(progress):
        if not dropped:
            dropped.extend(Future(key, pair) for key in list(pair.futures))
            pair.cancel(dropped, force=True)

    report = run_there(pair, plan, on_progress=drop)
    assert dropped
    assert report.failed == ()
    assert plan.written() == plan.expected()


def test_a_killed_worker_costs_nothing_but_time(tmp_path):
    plan = SpanPlan(str(tmp_path), 60, 2, seconds=0.05)
    with connect(n_workers=2, dashboard=False) as client:
        victims = list(client.run(os.getpid).values())

        def kill(progress):
            if progress.done_cells >= 20 and victims:
                os.kill(victims.pop(), signal.SIGKILL)
                victims.clear()

        report = run_there(client, plan, on_progress=kill)
    assert report.failed == ()
    assert plan.written() == plan.expected()
    results = list(RunFolder(tmp_path / "_run").results())
    assert sum(result.cells for result in results) == 60
    assert sum(result.summary["sum"] for result in results) == sum(range(60))


def test_a_cell_that_kills_its_worker_every_time_is_the_only_one_to_fail(tmp_path):
    plan = SpanPlan(str(tmp_path), 16, 4, ((6, "exit"),))
    with connect(n_workers=2, dashboard=False) as client:
        report = run_there(client, plan, max_failed=0.1, attempts=2)
    assert [failure.cell for failure in report.failed] == ["cell-6"]
    assert report.failed[0].reason.startswith("Every worker that computed it died")
    assert report.failed[0].attempts == 3
    assert plan.written() == plan.expected(without=(6,))


def test_a_lost_scheduler_interrupts_the_run_and_another_cluster_resumes_it(tmp_path):
    plan = SpanPlan(str(tmp_path), 80, 4, seconds=0.02)
    with connect(n_workers=1, dashboard=False) as client:
        scheduler = [client.run_on_scheduler(os.getpid)]
        processes = [psutil.Process(pid) for pid in client.run(os.getpid).values()]

        def kill(progress):
            if progress.done_cells >= 20 and scheduler:
                os.kill(scheduler.pop(), signal.SIGKILL)

        with pytest.raises(RunInterrupted, match=r"scheduler was lost.*of 20 batches are kept.*resumes"):
            run_there(client, plan, on_progress=kill)
    assert not psutil.wait_procs(processes, timeout=30)[1]  # what they still had in hand may be marked, too
    assert json.loads((tmp_path / "_run" / "run.json").read_text())["state"] == "interrupted"
    kept = len(list((tmp_path / "_run" / "done").glob("[!.]*")))
    started = len(plan.starts())
    report = execute(None, plan, write_cells, RunFolder(tmp_path / "_run"))
    assert (report.resumed, report.computed) == (kept, 20 - kept)
    assert len(plan.starts()) - started == 20 - kept
    assert plan.written() == plan.expected()


def test_a_cluster_without_workers_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "NO_WORKERS_SECONDS", 1.0)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        pytest.raises(RunInterrupted, match="no workers"),
    ):
        run_there(client, SpanPlan(str(tmp_path), 4))


def test_a_scheduler_that_waits_no_longer_for_workers_interrupts_the_run(tmp_path):
    with (
        dask.config.set({"distributed.scheduler.no-workers-timeout": "1 s"}),
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
        pytest.raises(RunInterrupted, match=r"no workers for 1 seconds.*no-workers-timeout.*resumes"),
    ):
        run_there(client, SpanPlan(str(tmp_path), 4))


def test_workers_may_join_while_a_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.1)
    plan = SpanPlan(str(tmp_path), 60, 1, seconds=0.05)
    flying = []
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):

        def grow(progress):
            flying.append(len(client.futures))
            if progress.done_cells == 10:
                cluster.scale(3)

        report = run_there(client, plan, on_progress=grow)
    assert max(flying[:9]) <= 2
    assert max(flying) > 3
    assert report.workers == 3
    assert plan.written() == plan.expected()


def test_an_asynchronous_client_is_refused(pair, tmp_path):
    async def ask():
        async with Client(pair.scheduler.address, asynchronous=True, set_as_default=False) as client:
            with pytest.raises(SettingError, match="asynchronous"):
                run_there(client, SpanPlan(str(tmp_path), 4))

    pair.sync(ask)
