"""GPUs are found and shared out, and one that is lost is left to a new process."""

import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from rasterloom.cluster import gpu
from rasterloom.cluster.driver import execute
from rasterloom.cluster.gpu import choose_gpus, give_up_gpu, is_lost_gpu, visible_gpus
from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.start import connect
from rasterloom.models.errors import SettingError
from tests.cluster.plans import Span
from tests.cluster.test_driver_faults import NoisePlan, Place

TWO = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb2222-0000-0000-0000-000000000000)
"""

CUT = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc3333-0000-0000-0000-000000000000)
  MIG 3g.20gb     Device  1: (UUID: MIG-dddd4444-0000-0000-0000-000000000000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb2222-0000-0000-0000-000000000000)
"""

PARTS = ["MIG-cccc3333-0000-0000-0000-000000000000", "MIG-dddd4444-0000-0000-0000-000000000000", "1"]


def put_nvidia_smi(folder: Path, patch: pytest.MonkeyPatch, listing: str = TWO, status: int = 0) -> None:
    """Let this process and those it starts find an nvidia-smi that prints ``listing``; no GPU is hidden."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(listing)}\nexit {status}\n", encoding="utf-8")
    program.chmod(0o755)
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        patch.delenv(name, raising=False)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_nvidia_smi(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("1, 0", ["1", "0"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("0,7,1", ["0"]),
        ("0,0", ["0"]),
        ("NoDevFiles", []),
        ("GPU-bbbb2222", ["GPU-bbbb2222"]),
        ("GPU-bbbb2222-0000-0000-0000-000000000000,0", ["GPU-bbbb2222-0000-0000-0000-000000000000", "0"]),
        ("GPU-ffff", []),
    ],
)
def test_what_cuda_hides_is_not_seen(
    two: None, monkeypatch: pytest.MonkeyPatch, named: str | None, seen: list[str]
) -> None:
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == seen


def test_the_parts_of_a_gpu_stand_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_nvidia_smi(tmp_path, monkeypatch, CUT)
    assert visible_gpus() == PARTS
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", PARTS[1])
    assert visible_gpus() == [PARTS[1]]


def test_a_driver_that_does_not_answer_means_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_nvidia_smi(tmp_path, monkeypatch, "NVIDIA-SMI has failed\n", status=9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert visible_gpus() == []


def test_device_files_are_counted_where_there_is_no_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "_DEVICES", tmp_path)
    assert visible_gpus() == []
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus() == ["1"]


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("auto", ["0", "1"]),
        ("all", ["0", "1"]),
        (True, ["0", "1"]),
        (1, ["0"]),
        (2, ["0", "1"]),
        (0, []),
        (False, []),
        ([], []),
        ([1], ["1"]),
        (("1", 0), ["1", "0"]),
        (["GPU-bbbb2222"], ["1"]),
    ],
)
def test_gpus_are_chosen_by_number_index_or_uuid(two: None, wanted: Any, chosen: list[str]) -> None:
    assert choose_gpus(wanted) == chosen


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (3, "sees 2"),
        (-1, "use 0 or more"),
        ("0,1", "a list such as"),
        ([0, 2], r"only those that this process sees .0, 1."),
        ([0, 0], "name each GPU once"),
        ([0, "GPU-aaaa1111"], "name each GPU once"),
        (["GPU-"], "cannot work"),
    ],
)
def test_gpus_that_are_not_here_are_refused(two: None, wanted: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        choose_gpus(wanted)


def test_a_machine_without_gpus_has_none_by_itself_and_says_so_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_nvidia_smi(tmp_path, monkeypatch, "")
    assert choose_gpus("auto") == []
    refused: tuple[Any, ...] = (True, "all", 1)
    for wanted in refused:
        with pytest.raises(SettingError, match="nvidia-smi -L lists them"):
            choose_gpus(wanted)


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
