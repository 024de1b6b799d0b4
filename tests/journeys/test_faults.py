"""Workers, scheduler and caller die in the middle of a map: the next call ends with the same file."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rasterloom.cluster.start import connect
from rasterloom.models.errors import RunInterrupted
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}
CELLS = 225
ROUNDS = int(os.environ.get("RASTERLOOM_FAULTS", "1"))
"""How often each part is killed; the record in BENCHMARKS.md says 3."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=480, width=480)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


@pytest.fixture(scope="module")
def expected(scene: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("whole") / "out.tif"
    classify_pixels(scene, package, ARGUMENTS, output, cell_size=32, progress=False)
    return output.read_bytes()


@contextmanager
def _killing(folder: Path, share: float, victim: Callable[[], int]) -> Iterator[list[int]]:
    """Kill a process as soon as ``share`` of the cells is marked; the list tells how many were by then."""
    pid, marked, over = victim(), [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            done = len(list(folder.glob("_run/*/done/*.json")))
            if done >= share * CELLS:
                os.kill(pid, signal.SIGKILL)
                marked.append(done)
                return
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield marked
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_lost_worker_changes_no_byte(
    seed: int, scene: Path, package: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "3s")
    with connect(n_workers=2, dashboard=False) as client:
        workers = list(client.run(os.getpid).values())
        share = random.Random(seed).uniform(0.1, 0.8)
        with _killing(tmp_path, share, lambda: workers[seed % 2]) as marked:
            classify_pixels(
                scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, client=client, progress=False
            )
    assert marked
    assert (tmp_path / "out.tif").read_bytes() == expected


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_lost_scheduler_interrupts_and_the_next_call_ends_with_the_same_bytes(
    seed: int, scene: Path, package: Path, expected: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "3s")
    client = connect(n_workers=2, dashboard=False)
    share = random.Random(seed).uniform(0.1, 0.8)
    with (
        _killing(tmp_path, share, lambda: client.run_on_scheduler(os.getpid)) as marked,
        pytest.raises(RunInterrupted, match="The same call resumes"),
    ):
        classify_pixels(
            scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, client=client, progress=False
        )
    client.close(timeout=1)
    assert marked
    assert not (tmp_path / "out.tif").exists()
    classify_pixels(scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, progress=False)
    assert (tmp_path / "out.tif").read_bytes() == expected
