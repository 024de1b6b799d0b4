"""Workers end gently: what runs is finished, what waits goes to others, and nobody starts them again."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, get_worker

from rasterloom.cluster.drain import ask_scheduler, drain
from rasterloom.cluster.start import connect


@pytest.fixture(scope="module")
def three() -> Iterator[Client]:
    with connect(n_workers=3, threads_per_worker=1, gpus=False, dashboard=False) as client:
        yield client


def note_and_wait(folder: Path, gate: str, number: int) -> str:
    """Leave a file for each time this ran, and wait until the gate is there."""
    (folder / f"{number}-{os.getpid()}").touch()
    while not (folder / gate).exists():
        time.sleep(0.02)
    return str(get_worker().name)


def wait_for(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 20
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def names(client: Client) -> dict[str, str]:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {str(worker["name"]): address for address, worker in workers.items()}


def test_what_runs_is_finished_and_what_waits_goes_to_others(three: Client, tmp_path: Path) -> None:
    name, address = min(names(three).items())
    runs = three.submit(note_and_wait, tmp_path, "gate", 0, workers=[address], allow_other_workers=True)
    wait_for(tmp_path, "0-*")
    waits = three.submit(note_and_wait, tmp_path, "gate", 1, workers=[address], allow_other_workers=True)
    time.sleep(0.3)  # to reach the worker
    answers: list[int] = []
    work = threading.Thread(
        target=lambda: answers.append(drain(three.scheduler.address, three.security, [name], 20))
    )
    work.start()
    time.sleep(0.5)
    assert work.is_alive(), "it waits for what runs"
    (tmp_path / "gate").touch()
    work.join(20)
    assert answers == [0]
    assert runs.result(timeout=20) == name
    assert waits.result(timeout=20) != name
    assert len(list(tmp_path.glob("0-*"))) == 1, "it ran once"
    assert name not in names(three)


def test_what_takes_too_long_is_cut_off_and_begins_anew_elsewhere(three: Client, tmp_path: Path) -> None:
    name, address = min(names(three).items())
    runs = three.submit(note_and_wait, tmp_path, "gate", 0, workers=[address], allow_other_workers=True)
    wait_for(tmp_path, "0-*")
    assert drain(three.scheduler.address, three.security, [name], 0.2) == 1
    (tmp_path / "gate").touch()
    assert runs.result(timeout=20) != name
    assert name not in names(three)


def test_workers_that_are_not_there_take_no_time(three: Client) -> None:
    assert drain(three.scheduler.address, three.security, ["nobody"], 20) == 0


def test_a_scheduler_says_who_works_for_it(three: Client) -> None:
    told = ask_scheduler(three.scheduler.address, None, 10)
    assert told["address"] == three.scheduler.address
    assert {str(worker["name"]) for worker in told["workers"].values()} == set(names(three))


def test_nobody_answers_where_nobody_is() -> None:
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1"):
        ask_scheduler("tcp://127.0.0.1:1", None, 0.5)
