"""``rasterloom cluster`` refuses what would open the machine, and says how to use what it started."""

import json
from pathlib import Path

import pytest

from rasterloom.cluster import daemon, daemon_node
from rasterloom.cluster.daemon_plan import NodeSettings
from rasterloom.cluster.daemon_state import NodeState, this_process, write_state
from rasterloom.pipeline.cli.main import run


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("RASTERLOOM_TLS", raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[NodeSettings]:
    """The settings that the commands would start something with."""
    asked: list[NodeSettings] = []

    def state(settings: NodeSettings) -> NodeState:
        asked.append(settings)
        common = {"address": "tls://192.0.2.7:8786", "workers": 2, "log": "/log", "ready": True}
        return NodeState(
            settings.name or "node-1", settings.role, "here", 1, 1.0, 25.0, **common, tls=settings.tls or ""
        )

    monkeypatch.setattr(daemon, "start_node", state)
    monkeypatch.setattr(daemon_node, "serve", lambda settings, on_ready: on_ready(state(settings)))
    return asked


def test_a_start_without_words_is_for_this_machine(
    started: list[NodeSettings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cluster", "start"]) == 0
    assert started == [NodeSettings(name="default")]
    said = capsys.readouterr()
    assert "--cluster tls://192.0.2.7:8786" in said.out
    assert "rasterloom cluster stop --name default" in said.out
    assert said.err == ""


def test_every_word_reaches_its_setting(started: list[NodeSettings], tmp_path: Path) -> None:
    words = (
        "--role worker --join tls://192.0.2.7:8786 --host 192.0.2.8 --port 1 --dashboard-port 2 "
        "--n-workers 3 --threads-per-worker 4 --memory-limit 5GB --gpus 0,2 --worker-ports 9000:9015 "
        f"--tls {tmp_path} --name here --grace 6 --insecure --foreground"
    )
    assert run(["cluster", "start", *words.split()]) == 0
    assert started == [
        NodeSettings(
            role="worker",
            name="here",
            host="192.0.2.8",
            port=1,
            dashboard_port=2,
            join="tls://192.0.2.7:8786",
            n_workers=3,
            threads_per_worker=4,
            memory_limit="5GB",
            gpus="0,2",
            worker_ports="9000:9015",
            tls=str(tmp_path),
            insecure=True,
            grace=6.0,
        )
    ]


def test_what_stays_in_the_foreground_needs_no_name(started: list[NodeSettings]) -> None:
    assert run(["cluster", "start", "--foreground"]) == 0
    assert started[0].name is None


def test_keys_are_found_in_the_environment_and_told_by_their_folder(
    started: list[NodeSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RASTERLOOM_TLS", str(tmp_path))
    assert run(["cluster", "start"]) == 0
    assert started[0].tls == str(tmp_path)
    assert f'connect("tls://192.0.2.7:8786", security="{tmp_path}")' in capsys.readouterr().out


def test_what_is_open_is_said_to_be(started: list[NodeSettings], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "start", "--host", "0.0.0.0", "--insecure"]) == 0
    assert "whoever reaches the ports of this cluster can run programs" in capsys.readouterr().err


@pytest.mark.parametrize("foreground", [[], ["--foreground"]])
def test_nothing_listens_to_others_without_keys(
    foreground: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cluster", "start", "--host", "0.0.0.0", *foreground]) == 1
    assert "add --tls FOLDER" in capsys.readouterr().err


def test_a_cluster_that_cannot_start_tells_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon, "_BOOT", ("-c", "print('port is taken'); raise SystemExit(3)"))
    assert run(["cluster", "start"]) == 1
    said = capsys.readouterr().err
    assert "ended with 3" in said
    assert "port is taken" in said
    assert run(["cluster", "status"]) == 0
    assert "no cluster runs here" in capsys.readouterr().out


def test_a_scheduler_that_is_silent_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon, "ANSWER_SECONDS", 0.5)
    state = this_process("default", "scheduler", grace=25.0)
    write_state(NodeState(**{**vars(state), "address": "tcp://127.0.0.1:1", "ready": True}))
    assert run(["cluster", "status"]) == 0
    assert "no answer" in capsys.readouterr().out
    assert run(["cluster", "status", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["state"], told["workers"]) == ("no answer", None)
    assert "127.0.0.1:1" in told["error"]


def test_one_that_is_not_there_cannot_be_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", "stop", "--name", "nobody"]) == 1
    assert "no cluster called 'nobody' runs here" in capsys.readouterr().err


def test_one_of_another_machine_is_not_stopped_from_here(capsys: pytest.CaptureFixture[str]) -> None:
    state = this_process("default", "all", grace=25.0)
    write_state(NodeState(**{**vars(state), "host": "elsewhere"}))
    assert run(["cluster", "stop"]) == 1
    assert "runs on elsewhere: stop it there" in capsys.readouterr().err
