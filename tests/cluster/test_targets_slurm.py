import os
import signal
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client

from rasterloom.cluster.targets import open_target
from rasterloom.cluster.targets_slurm import plan_jobs
from rasterloom.models.errors import ClusterError, SettingError
from tests.cluster.targets_scene import TinyScene

pytest.importorskip("dask_jobqueue", reason="SLURM clusters need the package dask-jobqueue")

SBATCH = """#!/bin/bash
# Plays SLURM: judges a script, or runs it as a job of its own.
echo "sbatch $*" >> "$SLURM_PLAYED/calls"
if [[ $1 == --test-only ]]; then
  if grep -q -e '-p nowhere'; then echo 'invalid partition specified: nowhere' >&2; exit 1; fi
  exit 0
fi
cp "$1" "$SLURM_PLAYED/script"
setsid bash "$SLURM_PLAYED/script" > "$SLURM_PLAYED/log" 2>&1 < /dev/null &
echo $! >> "$SLURM_PLAYED/jobs"
echo "Submitted batch job $!"
"""

SCANCEL = """#!/bin/bash
echo "scancel $*" >> "$SLURM_PLAYED/calls"
kill -TERM -- "-$1"
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A folder with SLURM's commands, what was asked of them, and the file of a cluster."""
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "bin").mkdir()
    (folder / "jobs").touch()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("SLURM_PLAYED", str(folder))
        yield folder
    for job in (folder / "jobs").read_text().split():
        with suppress(ProcessLookupError):
            os.killpg(int(job), signal.SIGKILL)


def cluster_file(folder, job="", cluster="", name="cluster.toml"):
    path = folder / name
    path.write_text(
        f'[cluster]\naddress = "127.0.0.1"\nshared = "{folder / "shared"}"\n{cluster}\n'
        f'[job]\nmemory = "4 GB"\ninterface = "lo"\npython = "{sys.executable}"\n{job}\n'
    )
    return path


def group_of(job):
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it ended while it was looked at
            if process.status() != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == job:
                found.append(process)
    return found


def test_a_map_made_by_jobs_of_slurm_has_the_bytes_of_one_made_here(slurm, tmp_path):
    scene = TinyScene.write(tmp_path)
    opened = open_target(f"slurm:{cluster_file(slurm, 'gpu = true')}")
    try:
        with Client(opened.address, security=opened.security) as client:
            client.wait_for_workers(1, timeout=60)
            (worker,) = client.scheduler_info()["workers"].values()
            assert opened.address.startswith("tls://127.0.0.1:")
            assert (worker["nthreads"], worker["resources"]) == (3, {"GPU": 1})
            assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 10
            assert scene.classify("there", client) == scene.classify("here")
            jobs = [int(job) for job in (slurm / "jobs").read_text().split()]
            lines = " ".join(word for job in jobs for p in group_of(job) for word in p.cmdline())
            assert "--no-dashboard" in lines
            assert "BEGIN" not in lines
        script = (slurm / "script").read_text()
        assert "#SBATCH --gres=gpu:1" in script
        assert "BEGIN" not in script
        (keys,) = (slurm / "shared").iterdir()
        assert stat.S_IMODE((keys / "key.pem").stat().st_mode) == 0o600
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    finally:
        opened.close()
    opened.close()
    assert (slurm / "calls").read_text().split("\n")[-2] == f"scancel {jobs[0]}"
    deadline = time.monotonic() + 30
    while any(group_of(job) for job in jobs):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not list((slurm / "shared").iterdir())


def test_a_job_that_slurm_refuses_is_not_submitted(slurm):
    file = cluster_file(slurm, 'queue = "nowhere"', name="nowhere.toml")
    before = (slurm / "jobs").read_text()
    with pytest.raises(ClusterError, match=r"SLURM refuses the job .invalid partition specified: nowhere"):
        open_target(f"slurm:{file}")
    assert (slurm / "jobs").read_text() == before
    assert not list((slurm / "shared").iterdir())


def test_without_slurm_it_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="no 'sbatch' here: run this on a login node"):
        open_target(f"slurm:{cluster_file(tmp_path)}")


def test_jobs_are_what_the_file_says(tmp_path):
    file = cluster_file(
        tmp_path,
        'cores = 8\nprocesses = 2\nthreads = 2\nqueue = "cpu"\nprologue = ["module load gdal"]\n'
        'directives = ["--exclusive"]',
        "jobs = 3",
    )
    plan = plan_jobs(file, threads_per_worker=None, gpus="auto")
    assert plan.workers == 6
    assert (plan.keywords["cores"], plan.keywords["job_cpu"], plan.keywords["processes"]) == (4, 8, 2)
    assert plan.keywords["job_script_prologue"][0] == 'export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"'
    assert plan.keywords["job_script_prologue"][-1] == "module load gdal"
    assert plan.keywords["job_extra_directives"] == ["--exclusive"]
    assert plan.keywords["queue"] == "cpu"


def test_jobs_follow_the_shipped_settings(tmp_path):
    plan = plan_jobs(cluster_file(tmp_path), threads_per_worker=None, gpus="auto")
    name = "DASK_DISTRIBUTED__WORKER__DAEMON"
    assert f'export {name}="${{{name}:-False}}"' in plan.keywords["job_script_prologue"]


@pytest.mark.parametrize(
    ("job", "gpus", "told"),
    [
        ("gpu = true\nprocesses = 2", "auto", "would share one GPU: leave it out"),
        ("gpu = 1", "auto", "has to be true or false"),
        ('memory = "much"', "auto", "no amount of memory"),
        ("threads = 0", "auto", "use 1 or more"),
        ("", [0, 1], "SLURM chooses the GPU"),
        ('password = "x"', "auto", "no password or token is taken"),
        ("colour = 1", "auto", "'colour', which is unknown: use account,"),
        ("prologue = [1]", "auto", "has to be a list of lines"),
    ],
)
def test_a_job_that_cannot_work_is_refused(tmp_path, job, gpus, told):
    text = cluster_file(tmp_path, job).read_text()
    if job.startswith("memory"):
        text = text.replace('memory = "4 GB"\n', "")
    Path(tmp_path / "cluster.toml").write_text(text)
    with pytest.raises(SettingError, match=told):
        plan_jobs(tmp_path / "cluster.toml", threads_per_worker=None, gpus=gpus)
