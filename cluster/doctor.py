"""What a machine and its cluster need to do the work, and whether it is there: one finding for each."""

import os
import re
import resource
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

import dask
import psutil
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from rasterloom.cluster.check import VersionWarning
from rasterloom.cluster.start import connect
from rasterloom.cluster.tls import OpenClusterWarning, read_keys
from rasterloom.models.errors import RasterloomError

Level = Literal["ok", "warn", "fail"]

_PROJECT = "rasterloom"

_MEMORY = (2e9, 8e9)
"""Bytes below which a run cannot hold a model and its buffers, and below which it is tight."""
_DISK = (0.5e9, 10e9)
_SHARED = 256e6
"""Shared memory in which PyTorch's loaders pass batches; containers have 64 MB by default."""
_FILES = (256, 1024)
"""Open files below which a run cannot work, and below which a scheduler of many workers cannot."""
_DAYS = 30
"""Left of a certificate when it is time to make the next."""

_ANSWER_SECONDS = 20.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    level: Level
    said: str
    """What was found."""
    remedy: str = ""
    """What to do about it; empty where all is well."""


def judged(topic: str, value: float, limits: tuple[float, float], said: str, remedy: str) -> Finding:
    """A finding about an amount: fails below the first limit, warns below the second."""
    if value >= limits[1]:
        return Finding(topic, "ok", said)
    return Finding(topic, "fail" if value < limits[0] else "warn", said, remedy)


def look_at_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """Whether this Python is one that rasterloom is tested with."""
    said = f"{'.'.join(map(str, version))} at {sys.executable}"
    wanted = SpecifierSet(metadata.metadata(_PROJECT)["Requires-Python"])
    if ".".join(map(str, version)) in wanted:
        return Finding("Python", "ok", said)
    return Finding("Python", "fail", said, f"make an environment with a Python that is {wanted}")


def look_at_packages(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """Whether all that rasterloom needs is installed, in versions that it works with.

    Parameters
    ----------
    requirements
        As in a distribution's metadata; those of rasterloom by default.
    """
    wanted = [Requirement(text) for text in requirements or metadata.requires(_PROJECT) or ()]
    needed = [need for need in wanted if need.marker is None or need.marker.evaluate({"extra": ""})]
    wrong = False
    for need in needed:
        found = _version(need.name)
        if found is None or not need.specifier.contains(found, prereleases=True):
            wrong = True
            said = f"{found or 'not installed'}, and {need.specifier or 'any version'} is needed"
            yield Finding(need.name, "fail", said, f"pip install '{need.name}{need.specifier}'")
    if not wrong:
        yield Finding("packages", "ok", f"{_PROJECT} {_version(_PROJECT)}, and all {len(needed)} it needs")
    released, distributed = _version("dask"), _version("distributed")
    if released and distributed and Version(released) != Version(distributed):
        remedy = f"pip install 'dask=={distributed}' 'distributed=={distributed}'"
        yield Finding("dask", "fail", f"{released}, and distributed is {distributed}", remedy)


def look_at_extras(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """Which extras of rasterloom are installed, which are not, and which only in part."""
    groups: dict[str, list[Requirement]] = {}
    for text in requirements or metadata.requires(_PROJECT) or ():
        need = Requirement(text)
        for extra in re.findall(r"extra == ['\"]([\w-]+)['\"]", str(need.marker or "")):
            groups.setdefault(extra, []).append(need)
    there, missing = [], []
    for extra, needs in sorted(groups.items()):
        found = {need.name: _version(need.name) for need in needs}
        fits = [found[n.name] is not None and n.specifier.contains(str(found[n.name]), True) for n in needs]
        if all(fits):
            there.append(extra)
        elif any(found.values()):
            lacks = [f"{n.name}{n.specifier}" for n, fit in zip(needs, fits, strict=True) if not fit]
            yield Finding(
                f"extra {extra}", "warn", f"lacks {', '.join(lacks)}", f"pip install '{_PROJECT}[{extra}]'"
            )
        else:
            missing.append(extra)
    told = f"installed: {', '.join(there) or 'none'}"
    if missing:
        told += f"; not installed: {', '.join(missing)} (pip install '{_PROJECT}[NAME]' where one is wanted)"
    yield Finding("extras", "ok", told)


def look_at_gpus() -> Iterator[Finding]:
    """Whether there are GPUs, and whether PyTorch can compute on each."""
    import torch

    from rasterloom.cluster.gpu import visible_gpus

    seen = visible_gpus()
    built = f"PyTorch {torch.__version__}"
    with warnings.catch_warnings(record=True) as said:  # of a driver that does not fit
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not seen and not count:
        yield Finding("GPU", "ok", f"none is seen; {built} computes on the CPU")
    elif not count:
        why = f" ({said[0].message})" if said else ""
        remedy = (
            "install a build of PyTorch for CUDA, pytorch.org/get-started says which"
            if torch.version.cuda is None
            else f"bring NVIDIA's driver up to what CUDA {torch.version.cuda} needs"
        )
        yield Finding("GPU", "fail", f"{len(seen)} seen, and {built} cannot use them{why}", remedy)
    for index in range(count):
        yield _try_gpu(index)


def _try_gpu(index: int) -> Finding:
    import torch

    topic, name = f"GPU {index}", torch.cuda.get_device_name(index)
    try:
        ones = torch.ones(64, 64, device=f"cuda:{index}")
        fine = bool((ones @ ones == 64).all())
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:
        why = str(error).partition("\n")[0]
        return Finding(topic, "fail", f"{name}: {why}", "nvidia-smi shows who holds it; else restart")
    if not fine:
        return Finding(topic, "fail", f"{name} computes wrongly", "take it out of use: CUDA_VISIBLE_DEVICES")
    bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
    said = f"{name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free, {bf16}, CUDA {torch.version.cuda}"
    return judged(topic, free, (1e9, 4e9), said, "end what else runs on it: nvidia-smi lists it")


def look_at_memory() -> Finding:
    """Whether there is memory for a worker."""
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    said = f"{free / 1e9:.1f} of {MEMORY_LIMIT / 1e9:.1f} GB free, {CPU_COUNT} cores"
    return judged("memory", free, _MEMORY, said, "start fewer workers (--workers), or end other programs")


def look_at_disk(folders: Mapping[str, Path] | None = None) -> Iterator[Finding]:
    """Whether the folders that are written to have space and may be written."""
    for topic, folder in (folders or _folders()).items():
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            remedy = "make the folder, or name another one"
            yield Finding(topic, "fail", f"{folder}: {error.strerror}", remedy)
            continue
        if not os.access(folder, os.W_OK):
            remedy = "use another folder, or give it to this user"
            yield Finding(topic, "fail", f"{folder} may not be written", remedy)
            continue
        remedy = "free some space, or use another disk; TMPDIR names the folder of temporary files"
        yield judged(topic, free, _DISK, f"{folder}, {free / 1e9:.1f} GB free", remedy)


def look_at_shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """Whether PyTorch's loaders can pass batches to each other."""
    if folder.is_dir():
        size = shutil.disk_usage(folder).total
        remedy = "start the container with --shm-size 2g"
        yield judged("shared memory", size, (0, _SHARED), f"{size / 1e6:.0f} MB at {folder}", remedy)


def look_at_open_files() -> Finding:
    """Whether enough files and connections may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = float("inf") if soft == resource.RLIM_INFINITY else soft
    most = min(65_536, hard) if hard > 0 else 65_536
    remedy = f"ulimit -n {most}, or LimitNOFILE=65536 in the systemd unit"
    return judged("open files", number, _FILES, f"{soft} at once (up to {hard} on request)", remedy)


def look_at_keys(folder: Path) -> Finding:
    """Whether a folder of TLS keys is in order, and for how long."""
    try:
        keys = read_keys(folder)
    except RasterloomError as error:
        return Finding("TLS keys", "fail", str(folder), str(error))
    days = (keys.expires - datetime.now(UTC)).days
    said = f"{folder}, of {keys.name}, until {keys.expires:%Y-%m-%d}"
    remedy = f"they end in {days} days: 'rasterloom cluster certs' with --overwrite makes the next"
    return judged("TLS keys", days, (0, _DAYS), said, remedy)


def look_at_cluster(address: str, security: str | None) -> Iterator[Finding]:
    """Whether a cluster answers, has workers, fits this environment, and is closed to others."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            client = connect(address, security=security, timeout=_ANSWER_SECONDS)
        except RasterloomError as error:
            yield Finding("cluster", "fail", f"{address} cannot be used", str(error))
            return
        with client:
            facts = client.facts()
    if facts.workers:
        yield Finding("cluster", "ok", str(facts))
    else:
        remedy = "start some: rasterloom cluster start --role worker --join " + facts.address
        yield Finding("cluster", "warn", f"{facts.address} has no workers", remedy)
    yield from (
        _warned(w.message) for w in said if isinstance(w.message, VersionWarning | OpenClusterWarning)
    )


def _warned(warning: Warning) -> Finding:
    if isinstance(warning, VersionWarning):
        return Finding("versions", "warn", str(warning), "install the same versions on all machines")
    # "... is open. Who can do what: what to do"
    said, _, remedy = str(warning).partition(": ")
    return Finding("safety", "warn", said, remedy)


def _folders() -> dict[str, Path]:
    temporary = dask.config.get("temporary-directory") or tempfile.gettempdir()
    return {"temporary files": Path(temporary), "this folder": Path.cwd()}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
