"""The doctor finds what is wrong, each with a remedy, and finds nothing where nothing is."""

import datetime
from pathlib import Path
from typing import Any

import pytest
import torch

from rasterloom.cluster import doctor
from rasterloom.cluster.certificates import make_authority, make_node
from rasterloom.cluster.doctor import (
    Finding,
    judged,
    look_at_cluster,
    look_at_disk,
    look_at_extras,
    look_at_gpus,
    look_at_keys,
    look_at_memory,
    look_at_open_files,
    look_at_packages,
    look_at_python,
    look_at_shared_memory,
)


def by_topic(findings: Any) -> dict[str, Finding]:
    return {finding.topic: finding for finding in findings}


def test_an_amount_is_judged_by_two_limits() -> None:
    levels = [judged("disk", value, (1, 10), "said", "remedy").level for value in (0.5, 1, 9, 10, 11)]
    assert levels == ["fail", "warn", "warn", "ok", "ok"]
    assert judged("disk", 11, (1, 10), "said", "remedy").remedy == ""
    assert judged("disk", 2, (1, 10), "said", "remedy").remedy == "remedy"


def test_this_python_is_one_that_will_do_and_an_old_one_is_not() -> None:
    assert look_at_python().level == "ok"
    old = look_at_python((3, 9, 1))
    assert old.level == "fail"
    assert ">=3.11" in old.remedy


def test_packages_that_lack_or_do_not_fit_are_named_with_what_to_install() -> None:
    found = by_topic(
        look_at_packages(
            ["numpy>=1", "torch>=999", "no-such-package>=2", "nor-this; extra == 's3'", "dask>=2000"]
        )
    )
    assert found["torch"].level == "fail"
    assert found["torch"].remedy == "pip install 'torch>=999'"
    assert "not installed" in found["no-such-package"].said
    assert set(found) == {"torch", "no-such-package"}


def test_this_environment_has_what_it_needs() -> None:
    assert [finding.level for finding in look_at_packages()] == ["ok"]


def test_dask_and_distributed_of_two_releases_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "2020.1" if name == "dask" else real(name))
    (found,) = (finding for finding in look_at_packages(["numpy"]) if finding.level != "ok")
    assert found.topic == "dask"
    assert "distributed==" in found.remedy


def test_extras_are_there_in_part_or_not_at_all() -> None:
    requirements = [
        "numpy; extra == 'whole'",
        "scipy; extra == 'half'",
        "no-such-package>=2; extra == 'half'",
        "no-such-package; extra == 'none'",
    ]
    found = by_topic(look_at_extras(requirements))
    assert found["extra half"].level == "warn"
    assert "no-such-package>=2" in found["extra half"].said
    assert found["extras"].said.startswith("installed: whole; not installed: none")


def test_no_gpu_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (found,) = look_at_gpus()
    assert found.level == "ok"


@pytest.mark.parametrize(
    ("built", "remedy"),
    [(None, "a build of PyTorch for CUDA"), ("13.2", "driver up to what CUDA 13.2 needs")],
)
def test_a_gpu_that_pytorch_cannot_use_fails(
    built: str | None, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA A10 (UUID: GPU-aaaa1111)'\n")
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built)
    (found,) = look_at_gpus()
    assert found.level == "fail"
    assert remedy in found.remedy


@pytest.mark.gpu
def test_a_gpu_that_computes_is_well() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert all("CUDA" in finding.said for finding in look_at_gpus())


def test_memory_and_open_files_are_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEMORY_LIMIT", 1e9)
    assert look_at_memory().level == "fail"
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (512, 4096))
    assert look_at_open_files().level == "warn"
    assert "ulimit -n 4096" in look_at_open_files().remedy
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda which: (-1, -1))
    assert look_at_open_files().level == "ok"


def test_folders_need_space_and_leave_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = by_topic(look_at_disk({"work": tmp_path / "none"}))["work"]
    assert missing.level == "fail"
    assert "No such file" in missing.said
    monkeypatch.setattr(doctor.os, "access", lambda folder, mode: False)
    assert "may not be written" in by_topic(look_at_disk({"work": tmp_path}))["work"].said


def test_full_disks_and_small_shared_memory_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=10**8, total=64 * 10**6)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    assert {finding.level for finding in look_at_disk()} == {"fail"}
    (shared,) = look_at_shared_memory(tmp_path)
    assert shared.level == "warn"
    assert "--shm-size" in shared.remedy


@pytest.mark.parametrize(("days", "level"), [(200, "ok"), (10, "warn")])
def test_keys_are_judged_by_what_is_left_of_them(days: int, level: str, tmp_path: Path) -> None:
    make_authority(tmp_path)
    found = look_at_keys(make_node(tmp_path, "client", days=days))
    assert found.level == level
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    assert f"{until:%Y-%m}" in found.said


def test_keys_that_are_not_there_fail_with_how_to_make_them(tmp_path: Path) -> None:
    found = look_at_keys(tmp_path / "none")
    assert found.level == "fail"
    assert "rasterloom cluster certs" in found.remedy


def test_a_cluster_that_answers_is_described(client: Any) -> None:
    (found,) = look_at_cluster(client.scheduler.address, None)
    assert found.level == "ok"
    assert "2 workers" in found.said


def test_a_cluster_that_does_not_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_ANSWER_SECONDS", 0.5)
    (found,) = look_at_cluster("tcp://127.0.0.1:1", None)
    assert found.level == "fail"
    assert "No Dask scheduler answers" in found.remedy


def test_warnings_about_a_cluster_become_findings() -> None:
    from rasterloom.cluster.check import VersionWarning
    from rasterloom.cluster.tls import OpenClusterWarning

    other = doctor._warned(VersionWarning("numpy 1 here, 2 there"))
    assert (other.level, other.topic) == ("warn", "versions")
    open_ = doctor._warned(OpenClusterWarning("The cluster at x is open. All can: start it with keys."))
    assert (open_.topic, open_.remedy) == ("safety", "start it with keys.")
