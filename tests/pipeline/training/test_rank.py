"""One rank: what it answers to the one who waits."""

import json

import pytest

from rasterloom.cluster import gang
from rasterloom.pipeline.training import rank
from rasterloom.pipeline.training.relay import Relay
from rasterloom.pipeline.training.settings import FitSettings
from tests.pipeline.training.runs import same, weights
from tests.pipeline.training.tiny_models import TinyModel


@pytest.fixture
def relay(tmp_path, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    relay = Relay(tmp_path / "run" / "ranks")
    relay.folder.mkdir(parents=True)
    return relay


def settings(lr):
    return FitSettings.checked(
        epochs=2,
        lr=lr,
        one_cycle=True,
        early_stopping=False,
        checkpoint=True,
        tensorboard=False,
        monitor="valid_loss",
        seed=1,
        columns=(),
        extras={},
    )


def test_a_rank_leaves_what_the_run_ends_with(relay, data):
    model = TinyModel(data)
    digest = relay.put_job((model, data, settings(0.01)))
    assert rank.run(relay.folder, digest, None) == (0, "")
    result = relay.result()
    assert len(result.history) == 2
    assert not same(result.weights, weights(model))
    assert result.optimizer["state"]
    assert [path.name for path in sorted(relay.folder.parent.iterdir())] == [
        "best.ckpt",
        "last.ckpt",
        "ranks",
    ]


def test_an_error_that_every_attempt_would_meet_is_answered(relay, data, capfd):
    digest = relay.put_job((TinyModel(data), data, settings(1e30)))
    status, answer = rank.run(relay.folder, digest, None)
    assert status == gang.REFUSED == rank.REFUSED
    name, message = json.loads(answer)
    assert name == "SettingError"
    assert "not a number" in message
    assert "Traceback" in capfd.readouterr().err


def test_a_job_that_was_exchanged_is_not_opened(relay, data, tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    digest = relay.put_job((TinyModel(data), data, settings(0.01)))
    relay.put_job(Payload())
    status, answer = rank.run(relay.folder, digest, None)
    assert status == rank.REFUSED
    assert "not what this run has put there" in answer
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("message", "status"),
    [("[gloo/transport/tcp/pair.cc] Connection closed by peer", rank.LOST_PEER), ("a bug", 1)],
)
def test_a_rank_that_lost_another_says_so_by_its_status(relay, monkeypatch, message, status):
    def fail(*_):
        raise RuntimeError(message)

    monkeypatch.setattr(rank, "_train", fail)
    assert rank.run(relay.folder, "", None) == (status, "")
    assert gang.LOST_PEER == rank.LOST_PEER
