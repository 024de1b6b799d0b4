import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from rasterloom.cluster.check import ALIKE, Versions, VersionWarning, check_workers, judge
from rasterloom.cluster.start import connect
from rasterloom.models.errors import ClusterError

HERE = {
    "python": "3.11",
    "rasterloom": "0.1.0",
    "dask": "2026.8.0",
    "distributed": "2026.8.0",
    "torch": "2.8.0",
}

CLUSTER = """
import asyncio, sys
{before}
from distributed import Scheduler, Worker

async def serve():
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as scheduler:
        async with Worker(scheduler.address, host="127.0.0.1", name="odd", dashboard_address="127.0.0.1:0"):
            print(scheduler.address, flush=True)
            await asyncio.to_thread(sys.stdin.read)

asyncio.run(serve())
"""


def without(packages, *names):
    return {name: version for name, version in packages.items() if name not in names}


@contextmanager
def cluster_with(before):
    """A scheduler and a worker in a process that first runs ``before``."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER.format(before=before)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate(timeout=30)


def test_machines_that_are_alike_pass(pair):
    check_workers(pair)
    judge(Versions(HERE, HERE, {"tcp://a:1": HERE, "tcp://b:1": HERE}))


@pytest.mark.parametrize("package", ALIKE)
def test_what_must_be_alike_and_is_not_is_an_error_that_says_who_has_what(package):
    old = HERE | {package: "0.0"}
    with pytest.raises(ClusterError) as caught:
        judge(Versions(HERE, old, {"tcp://a:1": HERE, "tcp://b:1": old}))
    text = str(caught.value)
    assert f"{package} - {HERE[package]}: this process, tcp://a:1; 0.0: the scheduler, tcp://b:1" in text
    assert not any(f"{other} - " in text for other in ALIKE if other != package)


def test_a_long_list_of_workers_is_cut():
    old = HERE | {"dask": "0.0"}
    with pytest.raises(ClusterError, match=r"0.0: w0, w1, w2 and 7 more"):
        judge(Versions(HERE, HERE, {f"w{i}": old for i in range(10)}))


def test_a_worker_without_a_package_has_none_of_it():
    with pytest.warns(VersionWarning, match=r"torch - 2.8.0: this process, v; none: w"):
        judge(Versions(HERE, HERE, {"v": HERE, "w": without(HERE, "torch")}))


def test_a_scheduler_needs_no_rasterloom_and_no_torch():
    judge(Versions(HERE, without(HERE, "rasterloom", "torch"), {"w": HERE}))


def test_a_copy_of_rasterloom_without_a_version_may_do():
    judge(Versions(HERE, HERE, {"w": without(HERE, "rasterloom")}))


def test_other_packages_that_differ_are_a_warning():
    with pytest.warns(VersionWarning, match=r"torch - 2.8.0: this process; 2.7.0: w"):
        judge(Versions(HERE, {}, {"w": HERE | {"torch": "2.7.0"}}))


def test_builds_of_one_release_are_alike():
    judge(Versions(HERE | {"torch": "2.8.0+cpu"}, HERE, {"w": HERE | {"torch": "2.8.0+cu128"}}))


def test_a_worker_that_cannot_import_rasterloom_is_named():
    refusal = pytest.raises(ClusterError, match="1 of 1 workers cannot import rasterloom")
    with cluster_with("sys.modules['rasterloom'] = None") as address, refusal as caught:
        connect(address)
    assert "No module named 'rasterloom.cluster'" in str(caught.value)
    assert "tcp://127.0.0.1:" in str(caught.value)


def test_a_cluster_of_another_release_is_refused():
    before = (
        "import distributed.versions as v; known = v.version\n"
        "v.version = lambda name: '2024.1.0' if name == 'dask' else known(name)"
    )
    refusal = pytest.raises(ClusterError, match=r"dask - .*: this process; 2024.1.0: the scheduler, tcp://")
    with cluster_with(before) as address, refusal:
        connect(address)


def test_a_worker_that_hangs_is_a_warning_and_not_the_end(pair):
    worker = next(iter(pair.run(os.getpid).values()))
    os.kill(worker, signal.SIGSTOP)
    try:
        with pytest.warns(VersionWarning, match="not every machine of the cluster answered within 0 s"):
            check_workers(pair, seconds=0.3)
    finally:
        os.kill(worker, signal.SIGCONT)
    check_workers(pair)
