"""How many batches run side by side, and with what arithmetic."""

import os
from typing import Any

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.devices import LOCAL_THREADS, batches_at_once, choose_precision


class _Cluster:
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
