"""A worker whose GPU is lost ends, and its batches are computed by the next one."""

import os
from pathlib import Path

import pytest

from rasterloom.cluster.driver import execute
from rasterloom.cluster.gpu import give_up_gpu, is_lost_gpu
from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.start import connect
from tests.cluster.plans import Span
from tests.cluster.test_driver_faults import NoisePlan, Place


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("CUDA error"), False),
    ],
)
def test_only_errors_of_the_device_itself_mean_that_it_is_lost(error: Exception, lost: bool) -> None:
    assert is_lost_gpu(error) is lost


def test_a_process_without_a_nanny_goes_on() -> None:
    give_up_gpu(RuntimeError("CUDA error: an illegal memory access was encountered"))


def _lost_once(plan: NoisePlan, batch: Span) -> BatchResult:
    """The first worker that computes batch 0 finds its GPU lost."""
    trace = plan.folder.path / "lost"
    if batch.start == 0 and not trace.exists():
        trace.write_text(str(os.getpid()))
        error = RuntimeError("CUDA error: an illegal memory access was encountered")
        give_up_gpu(error)
        raise error
    return BatchResult(batch.id, batch.cells, batch.cells, 0.0)


def test_a_worker_with_a_lost_gpu_is_replaced_and_the_run_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "3s")
    plan = NoisePlan(Place.of(tmp_path))
    with connect(n_workers=1, dashboard=False) as client:
        before = set(client.run(os.getpid).values())
        report = execute(client, plan, _lost_once, RunFolder(tmp_path))
        after = set(client.run(os.getpid).values())
    assert report.failed == ()
    assert {int((tmp_path / "lost").read_text())} == before
    assert before.isdisjoint(after)
