"""How many batches run side by side, and with what arithmetic."""

import os
from typing import Any

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.devices import (
    LOCAL_THREADS,
    batches_at_once,
    choose_device,
    choose_precision,
)


class _Cluster:
    """Two workers; the second is gone when it is asked something, unless it has an answer."""

    def __init__(self, *answers: bool) -> None:
        self.answers = answers

    def run(self, question: Any, *, on_error: str) -> dict[str, bool]:
        assert on_error == "ignore", "a worker that leaves would end the run"
        return dict(zip("ab", self.answers, strict=False))

    def nthreads(self) -> dict[str, int]:
        return {"a": 4, "b": 4}


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(None, None), ("50%", 4), ("1", 1), (0, 1), ("0%", 1), (6, 6), ("200%", 8), (99, 8)],
)
def test_a_share_of_a_clusters_threads_is_a_number_of_batches(factor: Any, expected: int | None) -> None:
    assert batches_at_once(factor, _Cluster(), batches=1000) == expected


def test_this_process_computes_no_more_at_once_than_it_has_cores_or_work() -> None:
    cores = len(os.sched_getaffinity(0))
    assert batches_at_once(None, None, batches=1000) == min(cores, LOCAL_THREADS)
    assert batches_at_once(None, None, batches=1) == 1
    assert batches_at_once("1", None, batches=1000) == 1


@pytest.mark.parametrize("factor", ["many", "-1", "-20%", "nan", "inf", [2]])
def test_a_share_that_is_no_number_is_refused(factor: Any) -> None:
    with pytest.raises(SettingError, match="give a share such as '80%', or a number of cores"):
        batches_at_once(factor, None, batches=10)


def test_a_cpu_computes_in_full_precision_unless_told_otherwise() -> None:
    assert choose_precision(None, "cpu", None) == "float32"
    assert choose_precision("bfloat16", "cpu", None) == "bfloat16"


def test_a_gpu_is_used_where_every_worker_that_is_there_has_one() -> None:
    assert choose_device(None, _Cluster(True, True)) == choose_device("gpu", _Cluster(True)) == "cuda"
    assert choose_device(None, _Cluster(True, False)) == choose_device(None, _Cluster()) == "cpu"
    assert choose_device("CPU", _Cluster(True, True)) == "cpu"
    with pytest.raises(SettingError, match="1 of 2 workers see no GPU"):
        choose_device("GPU", _Cluster(True, False))
    with pytest.raises(SettingError, match="'TPU' is not known"):
        choose_device("TPU", None)


def test_a_gpu_computes_with_the_best_half_numbers_that_all_have() -> None:
    assert choose_precision(None, "cuda", _Cluster(True, True)) == "bfloat16"
    assert choose_precision(None, "cuda", _Cluster(True, False)) == "float16"
