"""Starts a cluster whose workers are jobs of SLURM; the scheduler runs in this process.

[cluster]
jobs = 4                          # to begin with
address = "10.0.0.1"              # where the scheduler listens, as the jobs reach it; left out: dask finds it
port = 0                          # of the scheduler; 0: a free one
shared = "~/.rasterloom"          # folder that every machine sees, for the keys made for this cluster

[job]                             # each of them
gpu = true                        # one GPU and one worker with it
cores = 8
memory = "64 GB"
processes = 1                     # workers; with a GPU always one
threads = 3                       # of each worker; left out: 3 with a GPU, else 1
queue = "gpu"                     # SLURM's partition
account = "forest"
walltime = "04:00:00"
python = "/shared/env/bin/python" # left out: the one that runs here
interface = "ib0"                 # network of the workers
folder = "/scratch"               # for temporary files
logs = "logs"                     # what the jobs write
directives = ["--constraint=a100"]   # further lines of #SBATCH
prologue = ["module load cuda"]   # further lines of the script
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from dask.utils import parse_bytes
from distributed import Security

from rasterloom.cluster.gpu import GpuChoice
from rasterloom.cluster.local import GPU_THREADS
from rasterloom.cluster.settings import dask_settings
from rasterloom.cluster.targets import Opened, load_extra
from rasterloom.cluster.targets_files import check_kind, check_names, count, read_file
from rasterloom.models.errors import ClusterError, MissingInputError, SettingError

_CLUSTER = ("jobs", "address", "port", "shared")
_JOB = (
    "gpu", "cores", "memory", "processes", "threads", "queue", "account", "walltime", "python", "interface",
    "folder", "logs", "directives", "prologue",
)  # fmt: skip
_SUBMIT_SECONDS = 60.0


def open_cluster(
    file: str,
    *,
    n_workers: int | None,
    threads_per_worker: int | None,
    gpus: GpuChoice,
    security: bool | str | Path | Security | None,
    timeout: float,
) -> Opened:
    """Start a scheduler here and submit the jobs that a file describes.

    Raises
    ------
    MissingExtraError
        If dask-jobqueue is not installed.
    ClusterError
        If there is no SLURM here, or it refuses such a job.
    """
    library = load_extra("dask_jobqueue", "slurm")
    plan = plan_jobs(file, threads_per_worker=threads_per_worker, gpus=gpus)
    if shutil.which("sbatch") is None:
        raise ClusterError(
            f"slurm:{file} needs SLURM, and there is no 'sbatch' here: run this on a login node of its "
            "cluster."
        )
    dask.config.update_defaults(dask_settings())  # for the scheduler; what the user's own files say stands
    with ExitStack() as undo:
        keys = _keys(security, plan.shared, undo.callback)
        cluster = library.SLURMCluster(
            security=keys, protocol="tls" if keys else "tcp", **plan.keywords, silence_logs="error"
        )
        undo.callback(cluster.close, timeout=timeout)
        _try_job(cluster.job_script())
        cluster.scale(plan.workers if n_workers is None else n_workers)
        return Opened(
            address=cluster.scheduler_address,
            security=keys,
            where=f"slurm {Path(file).name}",
            close=undo.pop_all().close,
            scale=cluster.scale,
        )


@dataclass(frozen=True)
class JobPlan:
    """What dask-jobqueue is told."""

    keywords: dict[str, Any]
    """Arguments of ``SLURMCluster``."""
    workers: int
    """Workers to begin with."""
    shared: Path
    """Folder for keys, which every machine sees."""


def plan_jobs(file: str | Path, *, threads_per_worker: int | None, gpus: GpuChoice) -> JobPlan:
    """Return the jobs that a file describes.

    Raises
    ------
    MissingInputError
        If the file is not there.
    SettingError
        If something in it cannot work.
    """
    tables = check_names(read_file(file), ("cluster", "job"), str(file))
    in_cluster, in_job = f"[cluster] of {file}", f"[job] of {file}"
    cluster = check_names(tables.get("cluster", {}), _CLUSTER, in_cluster)
    job = check_names(tables.get("job", {}), _JOB, in_job)
    gpu = _gpu(job, gpus, in_job)
    processes = count(job, "processes", in_job) or 1
    if gpu and processes > 1:
        raise SettingError(
            f"processes = {processes} in {in_job} would share one GPU: leave it out, and ask for more jobs."
        )
    threads = threads_per_worker or count(job, "threads", in_job) or (GPU_THREADS if gpu else 1)
    cores = count(job, "cores", in_job) or threads * processes
    port = check_kind(cluster, "port", int, in_cluster) or 0
    scheduler = {"dashboard_address": "127.0.0.1:0", "port": port}
    if address := check_kind(cluster, "address", str, in_cluster):
        scheduler["host"] = address
    keywords = {
        "cores": threads * processes,  # of dask: threads for batches, which the cores of the job are not
        "job_cpu": cores,
        "processes": processes,
        "memory": _memory(job, in_job),
        "scheduler_options": scheduler,
        "job_script_prologue": [*_exports(cores // processes), *_lines(job, "prologue", in_job)],
        "job_extra_directives": [*(["--gres=gpu:1"] if gpu else []), *_lines(job, "directives", in_job)],
        # A worker's own pages would listen on every network of its machine.
        "worker_extra_args": ["--no-dashboard", *(["--resources", "GPU=1"] if gpu else [])],
    }
    for name, theirs in _PASSED.items():
        if (value := check_kind(job, name, str, in_job)) is not None:
            keywords[theirs] = value
    shared = Path(check_kind(cluster, "shared", str, in_cluster) or "~/.rasterloom").expanduser()
    return JobPlan(keywords, (count(cluster, "jobs", in_cluster) or 1) * processes, shared)


_PASSED = {
    "queue": "queue",
    "account": "account",
    "walltime": "walltime",
    "python": "python",
    "interface": "interface",
    "folder": "local_directory",
    "logs": "log_directory",
}
"""Our name of a setting and that of dask-jobqueue."""


def _gpu(job: Mapping[str, Any], gpus: GpuChoice, place: str) -> bool:
    if gpus == "auto":
        return bool(check_kind(job, "gpu", bool, place))
    if isinstance(gpus, list | tuple):
        raise SettingError(
            f"gpus={gpus!r}: SLURM chooses the GPU of a job. Use True or False, or gpu = true in the file."
        )
    return bool(gpus)


def _memory(job: Mapping[str, Any], place: str) -> str:
    memory: str | None = check_kind(job, "memory", str, place)
    if memory is None:
        raise SettingError(f'{place} does not say how much memory a job has: write memory = "64 GB".')
    try:
        parse_bytes(memory)
    except ValueError as error:
        raise SettingError(f"memory = {memory!r} in {place} is no amount of memory: use '64 GB'.") from error
    return memory


def _lines(job: Mapping[str, Any], name: str, place: str) -> list[str]:
    lines = check_kind(job, name, list, place) or []
    for line in lines:
        if not isinstance(line, str) or "\n" in line:
            raise SettingError(f"{name} in {place} has to be a list of lines, and holds {line!r}.")
    return lines


def _exports(cores: int) -> list[str]:
    """Lines that share a job's cores among its workers and give these the shipped settings.

    What the environment of the job says already stands.
    """
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    wanted = dict.fromkeys(threads, str(max(1, cores))) | {"GDAL_CACHEMAX": "32"}
    for section in ("worker", "comm"):
        _flatten(
            f"DASK_DISTRIBUTED__{section.upper()}", dask_settings()["distributed"].get(section, {}), wanted
        )
    return [f'export {name}="${{{name}:-{value}}}"' for name, value in wanted.items()]


def _flatten(head: str, settings: Mapping[str, Any], into: dict[str, str]) -> None:
    for name, value in settings.items():
        variable = f"{head}__{name.upper().replace('-', '_')}"
        if isinstance(value, Mapping):
            _flatten(variable, value, into)
        else:
            into[variable] = str(value)


def _keys(
    given: bool | str | Path | Security | None, shared: Path, when_closed: Callable[..., Any]
) -> Security | None:
    """Keys of the user's, or some that are made for this cluster where every job can read them."""
    from rasterloom.cluster.certificates import write_unrepeatable
    from rasterloom.cluster.tls import read_security

    if given is False:
        return None
    if given is not None and given is not True:
        return read_security(given, "tls://")
    try:
        shared.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="keys-", dir=shared))
    except OSError as error:
        raise MissingInputError(
            f"No keys can be written to {shared} ({error}): set shared in [cluster] to a folder that every "
            "machine sees."
        ) from error
    when_closed(shutil.rmtree, folder, ignore_errors=True)
    write_unrepeatable(folder)
    return read_security(folder, "tls://")


def _try_job(script: str) -> None:
    """Let SLURM judge the job before any is submitted: afterwards its refusal reaches a log only."""
    try:
        tried = subprocess.run(
            ["sbatch", "--test-only"], input=script, capture_output=True, text=True, timeout=_SUBMIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"'sbatch' does not answer ({error}): check that SLURM runs.") from error
    if tried.returncode != 0:
        raise ClusterError(
            f"SLURM refuses the job ({tried.stderr.strip() or 'without a reason'}): check queue, account, "
            "cores, memory, walltime and directives in [job]."
        )
