"""What a machine contributes is planned before anything starts, and nothing opens it to strangers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from rasterloom.cluster.certificates import make_authority, make_node
from rasterloom.cluster.daemon_plan import (
    NodeSettings,
    Process,
    check_node,
    plan_scheduler,
    plan_workers,
    read_gpus,
)
from rasterloom.models.errors import SettingError

ADDRESS = "tcp://127.0.0.1:8786"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("keys")
    make_authority(folder)
    return str(make_node(folder, "scheduler"))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listing = tmp_path / "nvidia-smi"
    listing.write_text(
        "#!/bin/sh\n"
        'echo "GPU 0: NVIDIA A10 (UUID: GPU-aaaa1111-0000-0000-0000-000000000000)"\n'
        'echo "GPU 1: NVIDIA A10 (UUID: GPU-bbbb2222-0000-0000-0000-000000000000)"\n'
    )
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def option(process: Process, name: str) -> str:
    return process.words[process.words.index(name) + 1]


def workers(**settings: Any) -> list[Process]:
    return plan_workers(NodeSettings(**settings), ADDRESS, "node")


def test_one_process_holds_all_workers_without_gpus() -> None:
    (process,) = workers(n_workers=3, threads_per_worker=2, memory_limit="1 GB", gpus="none")
    assert process.words[:2] == ("worker", ADDRESS)
    assert [option(process, name) for name in ("--nworkers", "--nthreads", "--memory-limit")] == [
        "3",
        "2",
        "1000000000",
    ]
    assert process.workers == ("node-0", "node-1", "node-2")
    assert "CUDA_VISIBLE_DEVICES" not in process.environment
    assert workers(n_workers=1, gpus="none")[0].workers == ("node",)


def test_memory_and_cores_are_shared_among_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    one, four = (workers(n_workers=n, gpus="none")[0] for n in (1, 4))
    assert int(option(one, "--memory-limit")) // 4 == int(option(four, "--memory-limit"))
    assert int(four.environment["OMP_NUM_THREADS"]) <= int(one.environment["OMP_NUM_THREADS"])


def test_each_gpu_gets_a_process_that_sees_no_other(two_gpus: None) -> None:
    processes = workers(gpus="all")
    assert [process.environment["CUDA_VISIBLE_DEVICES"] for process in processes] == ["0", "1"]
    assert [process.workers for process in processes] == [("node-0",), ("node-1",)]
    assert [option(process, "--resources") for process in processes] == ["GPU=1", "GPU=1"]
    assert [option(process, "--nthreads") for process in processes] == ["3", "3"]
    assert "--nworkers" not in processes[0].words


def test_chosen_gpus_are_the_only_ones(two_gpus: None) -> None:
    assert [p.environment["CUDA_VISIBLE_DEVICES"] for p in workers(gpus="1,")] == ["1"]
    assert len(workers(gpus="1")) == 1
    with pytest.raises(SettingError):
        workers(gpus="7,8")


@pytest.mark.parametrize(
    ("text", "meant"),
    [("auto", "auto"), ("all", "all"), ("none", False), ("0", 0), ("2", 2), ("0,2", ["0", "2"])],
)
def test_gpus_are_read_from_a_word(text: str, meant: object) -> None:
    assert read_gpus(text) == meant


@given(n_workers=st.integers(1, 12), first=st.integers(1024, 60_000), spare=st.integers(0, 40))
def test_every_worker_has_ports_of_its_own(n_workers: int, first: int, spare: int) -> None:
    from rasterloom.cluster.daemon_plan import _shares

    last = first + 2 * n_workers - 1 + spare
    taken: list[int] = []
    for share in _shares(f"{first}:{last}", n_workers):
        low, high = map(int, str(share).split(":"))
        assert high - low >= 1
        taken.extend(range(low, high + 1))
    assert len(taken) == len(set(taken))
    assert set(taken) <= set(range(first, last + 1))


def test_what_listens_can_be_reached_from_here_only() -> None:
    process = plan_scheduler(NodeSettings(port=0), Path("file.json"))
    assert option(process, "--host") == "tcp://127.0.0.1"
    assert option(process, "--dashboard-address") == "127.0.0.1:8787"
    (process,) = workers(n_workers=1, gpus="none")
    assert option(process, "--host") == "127.0.0.1"
    assert option(process, "--dashboard-address") == "127.0.0.1:0"


def test_the_dashboard_stays_here_when_the_scheduler_does_not(keys: str) -> None:
    settings = NodeSettings(host="0.0.0.0", tls=keys)
    check_node(settings)
    process = plan_scheduler(settings, Path("file.json"))
    assert option(process, "--host") == "tls://0.0.0.0"
    assert option(process, "--dashboard-address").startswith("127.0.0.1:")


def test_keys_are_named_by_path_in_the_environment_only(keys: str) -> None:
    process = plan_scheduler(NodeSettings(tls=keys), Path("file.json"))
    assert process.environment["DASK_DISTRIBUTED__COMM__TLS__SCHEDULER__KEY"] == f"{keys}/key.pem"
    assert process.environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    assert not any("key" in word for word in process.words if not word.startswith("--"))


def test_an_ipv6_address_stands_in_brackets() -> None:
    process = plan_scheduler(NodeSettings(host="::1"), Path("file.json"))
    assert option(process, "--host") == "tcp://[::1]"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "0.0.0.0 can be reached from other machines.*add --tls FOLDER"),
        ({"host": "192.0.2.7"}, "--insecure does without"),
        ({"role": "worker", "join": "tcp://192.0.2.7:8786"}, "can be reached from other machines"),
        ({"role": "worker"}, "needs the scheduler"),
        ({"join": ADDRESS}, "add --role worker"),
        ({"role": "worker", "join": "10.0.0.5:8786"}, "is no address of a scheduler"),
        ({"role": "worker", "join": "tls://127.0.0.1:8786"}, "add --tls FOLDER"),
        ({"role": "boss"}, "is none of all, scheduler, worker"),
        ({"n_workers": 0}, "n_workers=0"),
        ({"threads_per_worker": 0}, "threads_per_worker=0"),
        ({"memory_limit": "a lot"}, "is no amount of memory"),
        ({"worker_ports": "9000"}, "is no range of ports"),
        ({"worker_ports": "9000:9001", "n_workers": 2}, "use 9000:9003"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        check_node(NodeSettings(**settings))


def test_keys_for_a_scheduler_without_them_are_refused(keys: str) -> None:
    with pytest.raises(SettingError, match="do not fit together"):
        check_node(NodeSettings(role="worker", join=ADDRESS, tls=keys))


def test_what_is_open_by_decision_is_let_through() -> None:
    check_node(NodeSettings(host="0.0.0.0", insecure=True))
