"""A gang: all ranks together or none, each beside its own worker, and nothing left behind."""

import json
import os
import signal
import threading
import time

import psutil
import pytest

from rasterloom.cluster import gang
from rasterloom.cluster.gang import REFUSED, RankRefused, run_gang
from rasterloom.cluster.seats import seats_for
from rasterloom.cluster.start import connect
from rasterloom.models.errors import ClusterError

TELL = (
    "import json, os, pathlib, sys\n"
    "from rasterloom.cluster.child import die_with_parent\n"
    "die_with_parent()\n"
    "folder, attempt = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
    "rank = int(os.environ['RANK'])\n"
    "(folder / f'{attempt}-{rank}').write_text(json.dumps({**os.environ, 'pid': os.getpid()}))\n"
)
"""A rank that leaves its variables and goes on with what follows."""

WAIT = "import time; time.sleep(60)\n"


@pytest.fixture
def started(pair, tmp_path):
    """Starts a gang of scripts, and gives back what each of its ranks has told."""

    def start(code, **settings):
        def command(attempt):
            return ["-c", TELL + code, str(tmp_path), str(attempt)]

        try:
            run_gang(pair, command, seats_for(pair, 2), **settings)
        finally:
            start.told = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}

    return start


def alive(told):
    return [rank["pid"] for rank in told.values() if psutil.pid_exists(rank["pid"])]


def test_each_rank_has_its_place_and_all_meet_at_one(started):
    started("")
    first, second = started.told["0-0"], started.told["0-1"]
    assert (first["RANK"], second["RANK"]) == ("0", "1")
    assert {rank["WORLD_SIZE"] for rank in (first, second)} == {"2"}
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        assert first[name] == second[name]
    assert first["MASTER_ADDR"] == "127.0.0.1"
    assert int(first["MASTER_PORT"]) > 0
    assert first["GLOO_SOCKET_IFNAME"] == "lo"
    assert first["RASTERLOOM_PARENT"] != second["RASTERLOOM_PARENT"]


def test_something_is_done_meanwhile(started):
    calls = []
    started("import time; time.sleep(1)\n", meanwhile=lambda: calls.append(1))
    assert len(calls) >= 2


def test_a_killed_rank_takes_the_others_along_and_all_start_again(started):
    began = time.monotonic()
    started(f"if attempt == '0':\n    if rank == 1: os.kill(os.getpid(), 9)\n    {WAIT}")
    assert time.monotonic() - began < 20
    assert set(started.told) == {"0-0", "0-1", "1-0", "1-1"}
    assert not alive(started.told)


def test_a_rank_that_always_fails_is_named_with_its_last_words(pair, started):
    worker = seats_for(pair, 2)[1].worker
    with pytest.raises(ClusterError) as caught:
        started(f"if rank == 1: sys.exit('no such band')\n{WAIT}")
    message = str(caught.value)
    assert f"rank 1 on worker {worker} ended with status 1" in message
    assert "no such band" in message
    assert {name[0] for name in started.told} == {"0", "1", "2"}
    assert not alive(started.told)


def test_the_rank_that_failed_first_is_blamed_not_those_that_lost_it(started):
    code = "if rank == 0: sys.exit(65)\nimport time; time.sleep(0.5); sys.exit('the cause')\n"
    with pytest.raises(ClusterError, match=r"rank 1 (.|\n)*the cause"):
        started(code, restarts=0)


def test_a_refusal_is_not_tried_again_and_says_why(started):
    code = f"print('too few chips')\nif rank == 1: sys.exit({REFUSED})\n{WAIT}"
    with pytest.raises(RankRefused, match=r"^too few chips$"):
        started(code)
    assert set(started.told) == {"0-0", "0-1"}
    assert not alive(started.told)


def test_an_interrupt_ends_all_ranks(started):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        started(WAIT, meanwhile=interrupted)
    assert not alive(started.told)


def test_ranks_end_when_their_client_is_gone(tmp_path):
    with connect(n_workers=1, dashboard=False) as keeper:
        other = connect(keeper.scheduler.address)
        seats = seats_for(other, 1)
        told = tmp_path / "0-0"

        def leave():
            if told.exists():
                other.close()

        with pytest.raises(gang.CrewLost):
            run_gang(other, lambda _: ["-c", TELL + WAIT, str(tmp_path), "0"], seats, meanwhile=leave)
        pid = json.loads(told.read_text())["pid"]
        deadline = time.monotonic() + 10
        while psutil.pid_exists(pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not psutil.pid_exists(pid)


def test_a_lost_worker_is_waited_for_and_the_gang_starts_again(tmp_path):
    with connect(n_workers=2, dashboard=False) as client:
        seats = seats_for(client, 2)
        pid = client.run(os.getpid, workers=[seats[1].worker])[seats[1].worker]

        def kill():
            if (tmp_path / "0-1").exists():
                os.kill(pid, signal.SIGKILL)

        timer = threading.Timer(3.0, kill)
        timer.start()
        code = f"{TELL}if attempt == '0': {WAIT}"
        run_gang(client, lambda attempt: ["-c", code, str(tmp_path), str(attempt)], seats)
        timer.join()
    told = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(told) == {"0-0", "0-1", "1-0", "1-1"}
    assert not alive(told)
