"""Schedulers and workers run Dask's own commands, with the settings that rasterloom ships."""

import os

import dask
import distributed.cli.dask_scheduler
import distributed.cli.dask_worker
import pytest

from rasterloom.cluster.child import PARENT
from rasterloom.cluster.daemon_child import main
from rasterloom.cluster.settings import dask_settings


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_the_words_reach_the_command_of_the_role(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, object]] = []
    for name in ("scheduler", "worker"):
        module = getattr(distributed.cli, f"dask_{name}")
        monkeypatch.setattr(module, "main", lambda words, name=name, **_: called.append((name, words)))
    monkeypatch.setattr(dask.config, "update_defaults", lambda new: called.append(("settings", new)))
    monkeypatch.delenv(PARENT, raising=False)
    main([role, "--port", "0"])
    assert called == [("settings", dask_settings()), (role, ["--port", "0"])]


def test_what_a_worker_starts_does_not_hear_of_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    from rasterloom.cluster import daemon_child

    monkeypatch.setenv(PARENT, "1")
    monkeypatch.setattr(daemon_child, "die_with_parent", lambda: None)
    monkeypatch.setattr(dask.config, "update_defaults", lambda new: None)
    seen: list[bool] = []
    monkeypatch.setattr(
        distributed.cli.dask_worker, "main", lambda *_, **__: seen.append(PARENT in os.environ)
    )
    main(["worker"])
    assert seen == [False]
