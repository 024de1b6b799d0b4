import hashlib
import pickle
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from rasterloom.cluster import delivery, sending
from rasterloom.cluster.delivery import (
    Parcel,
    check_seen,
    named_by_content,
    parcel,
    place_package,
    read_placed,
    seen_by_all,
)
from rasterloom.cluster.sending import Delivery
from rasterloom.models.errors import ClusterError, MissingInputError, PackageError, SettingError

CONTENT = random.Random(0).randbytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = f"model-{DIGEST}.dlpk"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "unet.dlpk"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers and their scheduler in this process, so that a test can look into them."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(sending, "KEPT_SECONDS", 0.05)
    with Client(cluster) as client:
        yield client


@pytest.fixture
def setups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of workers, once for each time that content came to them."""
    came, setup = [], Delivery.setup

    def counted(self: Delivery, worker: Any) -> None:
        came.append(worker.address)
        setup(self, worker)

    monkeypatch.setattr(Delivery, "setup", counted)
    return came


def read(package: Parcel) -> str:
    return hashlib.sha256(package.read()).hexdigest()


def read_everywhere(client: Client, package: Parcel) -> dict[str, str]:
    """What each worker reads, in a task of its own."""
    tasks = {
        worker: client.submit(read, package, workers=[worker], pure=False) for worker in client.nthreads()
    }
    return {worker: task.result() for worker, task in tasks.items()}


def files_of(cluster: LocalCluster) -> list[Path]:
    folders = (Path(worker.local_directory) for worker in cluster.workers.values())
    return [path for folder in folders for path in folder.rglob("*.dlpk")]


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


# Named by content


def test_a_package_is_placed_under_the_hash_of_its_content(package: Path, tmp_path: Path) -> None:
    placed = place_package(package, tmp_path / "run")
    assert Path(placed).name == NAME
    assert read_placed(placed) == CONTENT
    assert named_by_content(package).name == NAME


def test_what_has_been_changed_or_removed_is_refused(package: Path, tmp_path: Path) -> None:
    placed = Path(place_package(package, tmp_path / "run"))
    placed.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(PackageError, match="its content is not what this run put there"):
        read_placed(str(placed))
    placed.unlink()
    with pytest.raises(MissingInputError, match="under the same path or URL"):
        read_placed(str(placed))


# In the folder of a run


def test_workers_that_see_the_folder_of_a_run_are_fine(package: Path, client: Client) -> None:
    check_seen(client, str(package))
    check_seen(None, str(package))
    check_seen(client, "s3://bucket/run/model.dlpk")
    assert seen_by_all(package)


def test_a_worker_that_does_not_see_the_folder_of_a_run_is_named(client: Client, tmp_path: Path) -> None:
    first = min(client.nthreads())
    with pytest.raises(ClusterError, match=rf"worker {first} does not see .*\(2 workers do not\).*s3://"):
        check_seen(client, str(tmp_path / "elsewhere" / NAME))


def test_a_worker_that_cannot_be_asked_holds_up_no_run(
    client: Client, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(path: str) -> int:
        raise OSError("the connection broke")

    monkeypatch.setattr(delivery, "_size_of", lost)
    check_seen(client, str(package))


# Sent


def test_without_a_cluster_the_content_travels_whole(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "current_client", lambda: None)  # other tests may have one open
    travelled = pickle.loads(pickle.dumps(parcel(package)))
    assert read(travelled) == DIGEST


def test_content_is_sent_once_to_each_worker_however_many_tasks_need_it(
    package: Path, client: Client, cluster: LocalCluster, setups: list[str]
) -> None:
    sent = [parcel(package), parcel(package)]
    assert len(pickle.dumps(sent)) < 1000 < len(CONTENT)
    for _ in range(3):
        assert read_everywhere(client, sent[0]) == dict.fromkeys(client.nthreads(), DIGEST)
        assert read_everywhere(client, sent[1]) == dict.fromkeys(client.nthreads(), DIGEST)
    assert sorted(setups) == sorted(client.nthreads())
    files = [path for path in files_of(cluster) if client.id in path.parts]
    assert [path.read_bytes() == CONTENT for path in files] == [True, True]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files} == {0o700}


def test_content_crosses_the_border_of_processes_once(package: Path, pair: Client) -> None:
    sent = parcel(package)
    for _ in range(2):
        assert read_everywhere(pair, sent) == dict.fromkeys(pair.nthreads(), DIGEST)
    times = pair.run(_times_written, sent.name)
    assert set(read_everywhere(pair, parcel(package)).values()) == {DIGEST}
    assert pair.run(_times_written, sent.name) == times


def _times_written(name: str, dask_worker: Any) -> int:
    written: int = dask_worker.plugins[name].path.stat().st_mtime_ns
    return written


def test_a_worker_that_joins_late_has_it_too(package: Path, client: Client, cluster: LocalCluster) -> None:
    sent = parcel(package)
    before = set(client.nthreads())
    cluster.scale(3)
    client.wait_for_workers(3, timeout=20)
    late = (set(client.nthreads()) - before).pop()
    assert client.submit(read, sent, workers=[late], pure=False).result() == DIGEST
    cluster.scale(2)
    wait_until(lambda: len(client.nthreads()) == 2)


def test_a_file_that_was_tampered_with_on_a_worker_is_refused(
    package: Path, client: Client, cluster: LocalCluster
) -> None:
    sent = parcel(package)
    for path in files_of(cluster):
        path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(PackageError, match="its content is not what this run put there"):
        client.submit(read, sent).result()


def test_content_that_changes_on_its_way_is_refused(client: Client) -> None:
    with pytest.raises(PackageError, match="changed on its way"):
        sending.send(client, f"sent://{client.id}/{NAME}", CONTENT[:-1] + b"x")


def test_what_a_closed_client_has_sent_is_removed_and_nothing_else(
    package: Path, client: Client, cluster: LocalCluster
) -> None:
    kept = parcel(package)
    with Client(cluster, set_as_default=True) as other:
        gone = parcel(package)
        assert other.id in gone.name
        assert gone.name in cluster.scheduler.worker_plugins
    wait_until(lambda: gone.name not in cluster.scheduler.worker_plugins)
    wait_until(lambda: not [path for path in files_of(cluster) if other.id in path.parts])
    assert kept.name in cluster.scheduler.worker_plugins
    with client.as_current(), pytest.raises(PackageError, match="the client that sent it is closed"):
        client.submit(read, gone).result()
    assert client.submit(read, kept, pure=False).result() == DIGEST
    assert read(gone) == DIGEST  # this process still has it


def test_a_client_that_comes_back_finds_what_it_has_sent(
    package: Path, client: Client, cluster: LocalCluster
) -> None:
    sent = parcel(package)
    looked = threading.Event()

    def break_off() -> None:
        for plugin in list(cluster.scheduler.plugins.values()):
            plugin.remove_client(scheduler=cluster.scheduler, client=client.id)
        cluster.scheduler.loop.call_later(0.5, looked.set)

    cluster.scheduler.loop.add_callback(break_off)
    assert looked.wait(10)
    assert client.submit(read, sent, pure=False).result() == DIGEST


def test_what_is_too_large_to_send_is_refused(
    package: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MOST_SENT_BYTES", 1000)
    with pytest.raises(SettingError, match="300,000 bytes, and at most 1,000 can be sent"):
        parcel(package)
