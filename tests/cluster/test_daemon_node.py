"""A node ends in order: when it is asked to, and when a part of it fails."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from rasterloom.cluster import daemon_node
from rasterloom.cluster.daemon_node import check_free, serve
from rasterloom.cluster.daemon_plan import NodeSettings
from rasterloom.cluster.daemon_state import NodeState, folder_of_states, this_process, write_state
from rasterloom.models.errors import ClusterError, SettingError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_a_part_that_fails_ends_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_node, "_CHILD", ("-c", "raise SystemExit(4)"))
    ready: list[NodeState] = []
    with pytest.raises(ClusterError, match="the process of the scheduler ended with 4"):
        serve(NodeSettings(role="scheduler", name="here", port=0), on_ready=ready.append)
    assert ready == []
    assert list(folder_of_states().glob("*.json")) == []


def test_a_worker_waits_for_its_scheduler_and_ends_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(daemon_node, "ANSWER_SECONDS", 0.2)
    before = signal.getsignal(signal.SIGTERM)

    def ask() -> None:
        while signal.getsignal(signal.SIGTERM) is before:
            time.sleep(0.01)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    asked = threading.Thread(target=ask)
    asked.start()
    ready: list[NodeState] = []
    serve(NodeSettings(role="worker", join="tcp://127.0.0.1:1"), on_ready=ready.append)
    asked.join()
    assert ready == []
    said = capsys.readouterr().err
    assert said.count("no scheduler answers at tcp://127.0.0.1:1 yet, and is waited for") == 1, said
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_name_is_for_one_node_only() -> None:
    check_free("default")
    write_state(this_process("default", "all", grace=25.0))
    with pytest.raises(SettingError, match="rasterloom cluster stop --name default"):
        check_free("default")
