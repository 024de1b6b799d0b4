"""A cluster of separate command-line processes: same bytes, ended without losing work, closed to others."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rasterloom.cluster.start import connect
from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from tests.support.fleet import Fleet, started_fleet
from tests.support.models import random_model
from tests.support.rasters import write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}
CELLS = 64


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=256, width=256)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


@pytest.fixture(scope="module")
def expected(scene: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("whole") / "out.tif"
    classify_pixels(scene, package, ARGUMENTS, output, cell_size=32, progress=False)
    return output.read_bytes()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with started_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


def when_marked(folder: Path, share: float, act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as a share of the cells is marked as complete."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("_run/*/done/*.json"))) < share * CELLS:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_scheduler_and_two_workers_give_the_bytes_of_this_process(
    fleet: Fleet, scene: Path, package: Path, expected: bytes, tmp_path: Path
) -> None:
    with connect(fleet.address, n_workers=2, security=fleet.keys) as client:
        pids = client.run(os.getpid)
        classify_pixels(
            scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, client=client, progress=False
        )
    assert len(set(pids.values())) == 2
    assert (tmp_path / "out.tif").read_bytes() == expected


def test_every_part_listens_on_this_machine_only_and_in_a_group_of_its_own(fleet: Fleet) -> None:
    groups: set[int] = set()
    places: set[str] = set()
    for started in (fleet.scheduler, *fleet.workers):
        ours = psutil.Process(started.process.pid)
        (child,) = ours.children()
        groups |= {os.getpgid(ours.pid), os.getpgid(child.pid)}
        for process in (child, *child.children(recursive=True)):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    places.add(connection.laddr.ip)
    assert len(groups) >= 4  # each child's, and ours
    assert places == {"127.0.0.1"}


def test_the_command_line_works_there_and_the_doctor_finds_it_well(
    fleet: Fleet,
    scene: Path,
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RASTERLOOM_TLS", str(fleet.keys))
    words = ["classify-pixels", str(scene), str(package), "--padding", "16", "-q"]
    assert run([*words, "-o", str(tmp_path / "there.tif"), "--cluster", fleet.address]) == 0
    assert run([*words, "-o", str(tmp_path / "here.tif"), "--workers", "0"]) == 0
    assert (tmp_path / "there.tif").read_bytes() == (tmp_path / "here.tif").read_bytes()
    capsys.readouterr()
    run(["doctor", "--cluster", fleet.address, "--json"])
    findings = {row["topic"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["TLS keys"]["level"] == "ok"
    assert findings["cluster"]["level"] == "ok"
    assert "2 workers" in findings["cluster"]["said"]


def test_a_worker_that_is_asked_to_end_loses_no_work(
    fleet: Fleet, scene: Path, package: Path, expected: bytes, tmp_path: Path
) -> None:
    leaving = fleet.workers[0]
    asked: list[int] = []

    def ask() -> None:
        leaving.process.terminate()
        asked.append(len(list(tmp_path.glob("_run/*/done/*.json"))))

    with connect(fleet.address, n_workers=2, security=fleet.keys) as client:
        watcher = when_marked(tmp_path, 0.1, ask)
        report = classify_pixels(
            scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, client=client, progress=False
        )
        watcher.join()
        assert leaving.end() == 0
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1
    assert asked
    assert asked[0] < CELLS
    assert (tmp_path / "out.tif").read_bytes() == expected
    assert report is not None
    said = leaving.log.read_text()
    assert "ending 1 workers" in said
    assert "cut off" not in said


def test_the_others_end_with_the_scheduler_and_all_of_them_well(fleet: Fleet) -> None:
    left = (fleet.scheduler, fleet.workers[1])
    parts = [part for one in left for part in psutil.Process(one.process.pid).children(recursive=True)]
    assert len(parts) >= 3
    assert fleet.scheduler.end() == 0
    assert fleet.workers[1].process.wait(60) == 0
    _, alive = psutil.wait_procs(parts, timeout=20)
    assert not alive


def test_a_cluster_is_started_looked_at_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("RASTERLOOM_TLS", raising=False)
    words = ["--n-workers", "1", "--gpus", "none", "--port", "0", "--dashboard-port", "0"]
    assert run(["cluster", "start", *words]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    address = told["scheduler"]
    try:
        assert told["Python"] == f'connect("{address}")'
        assert told["workers"] == "1"
        assert run(["cluster", "status", "--json"]) == 0
        (node,) = json.loads(capsys.readouterr().out)
        assert (node["state"], node["address"], len(node["workers"])) == ("running", address, 1)
        assert run(["cluster", "status"]) == 0
        assert address in capsys.readouterr().out
        assert run(["cluster", "start", *words]) == 1
        assert "a cluster called 'default' runs already" in capsys.readouterr().err
        with connect(address) as client:
            assert client.submit(sum, [1, 2]).result(timeout=30) == 3
    finally:
        assert run(["cluster", "stop"]) == 0
    deadline = time.monotonic() + 10
    while psutil.pid_exists(node["pid"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert run(["cluster", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.removeprefix("default has ended\n")) == []
    assert run(["cluster", "stop"]) == 1


def test_nothing_is_left_when_the_one_that_looks_after_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    words = ["--role", "scheduler", "--port", "0", "--dashboard-port", "0", "--name", "orphan"]
    assert run(["cluster", "start", *words]) == 0
    assert run(["cluster", "status", "--json", "--name", "orphan"]) == 0
    (node,) = json.loads(capsys.readouterr().out.partition("orphan\n")[2])
    ours = psutil.Process(node["pid"])
    children = ours.children()
    assert children
    ours.kill()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert len(gone) == len(children)
    assert run(["cluster", "status"]) == 0
    assert "no cluster runs here" in capsys.readouterr().out
