"""A small file says what runs on this machine, to its owner, and no longer than it does."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rasterloom.cluster.daemon_state import (
    NodeState,
    check_name,
    folder_of_states,
    read_state,
    read_states,
    remove_state,
    this_process,
    wait_for_end,
    write_state,
)
from rasterloom.models.errors import SettingError


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def mine(name: str = "default", **changes: Any) -> NodeState:
    return replace(this_process(name, "all", grace=25.0), **changes)


def test_a_state_is_read_back_and_only_its_owner_can() -> None:
    state = mine(address="tcp://127.0.0.1:8786", groups=(12, 13), ready=True, workers=2)
    write_state(state)
    assert read_state("default") == state
    path = folder_of_states() / "default.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_has_ended_is_no_longer_listed_and_its_file_goes() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    write_state(mine("gone", pid=ended.pid))
    write_state(mine("here"))
    assert [state.name for state in read_states()] == ["here"]
    assert not (folder_of_states() / "gone.json").exists()


def test_another_process_with_the_same_number_is_not_taken_for_it() -> None:
    write_state(mine(born=1.0))
    assert read_state("default") is None


def test_what_runs_on_another_machine_is_left_alone() -> None:
    write_state(mine(host="elsewhere", pid=1, born=1.0))
    found = read_state("default")
    assert found is not None
    assert found.host == "elsewhere"


def test_a_file_that_makes_no_sense_is_no_state() -> None:
    write_state(mine())
    path = folder_of_states() / "default.json"
    for text in ("{", json.dumps({"name": "default"}), json.dumps({"groups": 3}), "[]"):
        path.write_text(text)
        assert read_states() == []


def test_only_the_own_file_is_removed() -> None:
    write_state(mine())
    remove_state(mine(pid=os.getpid() + 1))
    assert read_state("default") is not None
    remove_state(mine())
    assert read_state("default") is None
    remove_state(mine())


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "x" * 65, "a/b"])
def test_a_name_that_is_none_for_a_file_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="cannot be the name of a file"):
        check_name(name)


def test_the_end_of_a_process_is_waited_for() -> None:
    assert not wait_for_end(mine(), 0.0)
    assert wait_for_end(mine(born=1.0), 0.0)
