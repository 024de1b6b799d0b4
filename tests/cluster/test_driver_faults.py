"""Whatever is killed, and whenever: nothing that was marked is lost or done again, to the byte."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import BatchResult, Progress
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.start import connect
from rasterloom.models.errors import RunInterrupted
from tests.cluster.plans import Span

ROOT = Path(__file__).parents[2]
CELLS, SIZE = 96, 4
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class NoisePlan:
    """Cells of seeded noise, one tile each."""

    folder: Place
    cell_count: int = CELLS
    tile_bytes: int = 20_000
    id: str = "noise"

    @property
    def batch_count(self) -> int:
        return -(-self.cell_count // SIZE)

    def batches(self) -> Iterator[Span]:
        for start in range(0, self.cell_count, SIZE):
            yield Span(start, min(start + SIZE, self.cell_count))

    def tile(self, cell: int) -> bytes:
        return np.random.default_rng(cell).integers(0, 256, self.tile_bytes, np.uint8).tobytes()


def write_noise(plan: NoisePlan, batch: Span) -> BatchResult:
    """Write the tiles of a batch, and leave a trace of having begun."""
    (plan.folder / "starts").write(uuid.uuid4().hex, batch.id.encode())
    for cell in range(batch.start, batch.stop):
        (plan.folder / "tiles").write(f"{cell}.tif", plan.tile(cell))
        time.sleep(0.002)
    return BatchResult(batch.id, batch.cells, batch.cells, 0.0)


def starts(plan: NoisePlan) -> list[str]:
    place = plan.folder / "starts"
    return [place.read(name).decode() for name in place.names()]


def marked(plan: NoisePlan) -> set[str]:
    return {name.removesuffix(".json") for name in (plan.folder / "done").names()}


def resume_and_check(plan: NoisePlan) -> None:
    """The same call computes what has no marker, once each, and then every tile is what it must be."""
    kept, before = marked(plan), len(starts(plan))
    assert 0 < len(kept) < plan.batch_count
    whole = {name: (plan.folder / "tiles").read(name) for name in (plan.folder / "tiles").names()}
    for batch in plan.batches():
        if batch.id in kept:
            assert all(whole[f"{cell}.tif"] == plan.tile(cell) for cell in range(batch.start, batch.stop))
    report = execute(None, plan, write_noise, RunFolder(plan.folder))
    assert (report.resumed, report.computed) == (len(kept), plan.batch_count - len(kept))
    assert len(starts(plan)) - before == plan.batch_count - len(kept)
    check_tiles(plan)


def check_tiles(plan: NoisePlan) -> None:
    tiles = plan.folder / "tiles"
    assert tiles.names() == {f"{cell}.tif" for cell in range(plan.cell_count)}
    assert all(tiles.read(f"{cell}.tif") == plan.tile(cell) for cell in range(plan.cell_count))


def kill_at(share: float, victim: Callable[[], int]) -> Callable[[Progress], None]:
    """A callback that kills a process when ``share`` of the work is done."""
    killed: list[int] = []

    def look(progress: Progress) -> None:
        if not killed and progress.done_cells >= share * progress.total_cells:
            killed.append(victim())
            os.kill(killed[0], signal.SIGKILL)

    return look


@pytest.fixture(scope="module")
def three() -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        # how long dask tries to reach a worker whose result it wants, before it takes the worker for dead
        patch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "3s")
        with connect(n_workers=3, dashboard=False) as client:
            yield client


@pytest.mark.parametrize("seed", SEEDS)
def test_a_worker_killed_at_any_point_changes_no_byte(three: Client, tmp_path: Path, seed: int) -> None:
    dice, plan = random.Random(seed), NoisePlan(Place.of(tmp_path))
    workers = list(three.run(os.getpid).values())
    report = execute(
        three,
        plan,
        write_noise,
        RunFolder(tmp_path),
        on_progress=kill_at(dice.uniform(0.1, 0.8), lambda: dice.choice(workers)),
    )
    assert report.failed == ()
    check_tiles(plan)
    again = len(starts(plan))
    assert again <= plan.batch_count + 3 * 3  # what the dead worker held, and halves of it
    assert execute(None, plan, write_noise, RunFolder(tmp_path)).computed == 0
    assert len(starts(plan)) == again


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scheduler_killed_at_any_point_loses_nothing_that_is_marked(tmp_path: Path, seed: int) -> None:
    dice, plan = random.Random(seed), NoisePlan(Place.of(tmp_path))
    with connect(n_workers=1, threads_per_worker=2, dashboard=False) as client:
        workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
        scheduler = int(client.run_on_scheduler(os.getpid))
        look = kill_at(dice.uniform(0.1, 0.7), lambda: scheduler)
        with pytest.raises(RunInterrupted, match=r"batches are kept.*The same call resumes"):
            execute(client, plan, write_noise, RunFolder(tmp_path), on_progress=look)
    assert not psutil.wait_procs(workers, timeout=30)[1]
    resume_and_check(plan)


_CLIENT = """
import sys
from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.start import connect
from tests.cluster.test_driver_faults import NoisePlan, write_noise
with connect(n_workers=1, threads_per_worker=2, dashboard=False) as client:
    execute(client, NoisePlan(Place.of(sys.argv[1])), write_noise, RunFolder(sys.argv[1]))
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_client_killed_at_any_point_loses_nothing_that_is_marked(tmp_path: Path, seed: int) -> None:
    dice, plan = random.Random(seed), NoisePlan(Place.of(tmp_path))
    caller = psutil.Popen([sys.executable, "-c", _CLIENT, str(tmp_path)], cwd=ROOT)
    wanted = dice.uniform(0.1, 0.7) * plan.batch_count
    while len(marked(plan)) < wanted:
        assert caller.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    everyone = [caller, *caller.children(recursive=True)]
    caller.kill()
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert not alive, "the cluster outlived its client"
    resume_and_check(plan)


_SMALL_DISK = """
import json, resource, subprocess, sys
from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError
from tests.cluster.test_driver_faults import NoisePlan, marked, resume_and_check, write_noise
kind, folder = sys.argv[1:]
plan = NoisePlan(Place.of(folder), cell_count=40, tile_bytes=60_000)
try:
    execute(None, plan, write_noise, RunFolder(folder), threads=2)
except OutputError as error:
    told = str(error)
kept = len(marked(plan))
subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
resume_and_check(plan)
print(json.dumps([told, kept]))
"""


def test_a_disk_that_is_full_loses_nothing_that_is_marked(tmp_path: Path) -> None:
    disk = f"mount -t tmpfs -o size=1600k none {tmp_path}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk for itself")
    told = subprocess.run(
        [*alone, f'{disk} && exec "$0" -c "$1" tmpfs {tmp_path}', sys.executable, _SMALL_DISK],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert told.returncode == 0, told.stderr
    message, kept = json.loads(told.stdout)
    assert "No space left on device" in message
    assert "MB more are needed" in message
    assert f"{kept} of 10 batches are kept" in message or f"{kept - 1} of 10 batches are kept" in message


_SMALL_FILES = """
import resource, sys
from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError
from tests.cluster.test_driver_faults import GrowingPlan, write_noise
plan = GrowingPlan(Place.of(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (plan.tile_bytes // 2, resource.RLIM_INFINITY))
try:
    execute(None, plan, write_noise, RunFolder(sys.argv[1]), threads=1)
except OutputError as error:
    print(error)
"""


@dataclass(frozen=True)
class GrowingPlan(NoisePlan):
    """Each tile is larger than the one before."""

    def tile(self, cell: int) -> bytes:
        return super().tile(cell)[: self.tile_bytes * (cell + 1) // self.cell_count]


def test_a_file_that_may_not_grow_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _SMALL_FILES, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert told.returncode == 0, told.stderr
    assert "File too large" in told.stdout
    assert "MB more are needed" in told.stdout
    resume_and_check(GrowingPlan(Place.of(tmp_path)))
