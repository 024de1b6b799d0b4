"""Workers are killed, added, retired and scaled during a map, over an encrypted wire: not a byte changes."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from rasterloom.cluster import workers
from rasterloom.cluster.tls import read_security, temporary_keys
from rasterloom.pipeline.inference.pixels import classify_pixels
from tests.support.gates import WAIT_SECONDS, Gate, began, happening
from tests.support.networks import tiny_model
from tests.support.rasters import write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 1}
CELLS = 64
PATIENCE = {
    "distributed.comm.timeouts.connect": f"{WAIT_SECONDS:.0f}s",
    # A worker that takes longer than this to come back would be given up by the cluster, with its place.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=256, width=256)


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_model()


@pytest.fixture(scope="module")
def expected(scene: Path, model: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("whole") / "out.tif"
    classify_pixels(scene, model, ARGUMENTS, output, cell_size=32, progress=False)
    return output.read_bytes()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes that talk TLS only."""
    keys, forget = temporary_keys()
    with (
        dask.config.set(PATIENCE),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            security=read_security(keys, None),
            protocol="tls://",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster
    forget()


@pytest.fixture(scope="module")
def joined(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster) as client:
        yield client


@pytest.fixture
def gate(joined: Client, tmp_path: Path) -> Iterator[Path]:
    """Folder of the gate that every batch passes."""
    folder = tmp_path / "gate"
    folder.mkdir()
    joined.register_plugin(Gate(folder))
    yield folder
    joined.unregister_worker_plugin("gate")


@pytest.fixture
def classify(scene: Path, model: Any, joined: Client, tmp_path: Path) -> Callable[[], bytes]:
    def run() -> bytes:
        output = tmp_path / "out.tif"
        classify_pixels(scene, model, ARGUMENTS, output, cell_size=32, client=joined, progress=False)
        return output.read_bytes()

    return run


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def pids(client: Client) -> dict[str, int]:
    """Processes of the workers that answer, by address."""
    found = client.run(os.getpid, on_error="return")
    return {worker: pid for worker, pid in found.items() if isinstance(pid, int)}


def test_workers_may_be_killed_added_and_retired_over_tls(
    cluster: LocalCluster,
    joined: Client,
    gate: Path,
    classify: Callable[[], bytes],
    expected: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cluster.scheduler_address.startswith("tls://")
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.1)
    first = pids(joined)
    doomed = list(first.values())
    added: set[int] = set()
    killed: list[str] = []

    def kill() -> None:
        at_work = began(gate, 0)
        killed.extend(address for address, process in first.items() if process in at_work)
        os.kill(first[killed[0]], signal.SIGKILL)
        wait_for(lambda: killed[0] not in joined.nthreads())

    def add() -> None:
        before = set(pids(joined).values())
        cluster.scale(3)
        joined.wait_for_workers(3, timeout=WAIT_SECONDS)
        added.update(set(pids(joined).values()) - before)

    def retire() -> None:
        joined.retire_workers([address for address in first if address != killed[0]])

    with happening(tmp_path / "out.tif", CELLS, gate, [(0.1, kill), (0.3, add), (0.6, retire)]):
        found = classify()
    assert found == expected
    assert added & (began(gate, 2) | began(gate, 3))
    wait_for(lambda: not set(first) & set(joined.nthreads()))
    assert not set(doomed) & set(pids(joined).values())


def test_a_cluster_grows_with_a_run_and_shrinks_when_it_is_over(
    cluster: LocalCluster,
    joined: Client,
    gate: Path,
    classify: Callable[[], bytes],
    expected: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_LOOK_SECONDS", 0.1)
    cluster.adapt(minimum=1, maximum=2, interval="200ms", wait_count=3, target_duration="100ms")
    wait_for(lambda: len(joined.nthreads()) == 1)

    def grown() -> None:
        wait_for(lambda: len(joined.nthreads()) == 2)

    with happening(tmp_path / "out.tif", CELLS, gate, [(0.1, grown)]):
        assert classify() == expected
    assert len(began(gate, 1)) == 2
    wait_for(lambda: len(joined.nthreads()) == 1)
