"""fit: a run that was cut off goes on from its checkpoint, and from nothing else."""

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rasterloom.models.errors import MissingInputError, RunInterrupted, SettingError
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.training.module import TrainingModule
from tests.pipeline.training.runs import quick, run_folder, same, weights
from tests.pipeline.training.tiny_models import TinyModel


def test_a_resumed_run_ends_like_an_undisturbed_one(toy_store, tmp_path, monkeypatch):
    def prepared(name):
        return prepare_data(toy_store, chip_size=24, batch_size=4, working_dir=tmp_path / name)

    whole = prepared("whole")
    undisturbed = TinyModel(whole, dropout=0.2)
    expected = quick(undisturbed, whole, epochs=5, checkpoint="all")

    cut = prepared("cut")
    with monkeypatch.context() as patch:
        interrupt_in(patch, epoch=2)
        with pytest.raises(RunInterrupted, match=r"resume='.*last.ckpt' goes on after epoch 2"):
            quick(TinyModel(cut, dropout=0.2), cut, epochs=5, checkpoint="all")
    model = TinyModel(cut, dropout=0.2)
    history = quick(model, cut, epochs=5, checkpoint="all", resume=run_folder(cut) / "last.ckpt")
    assert [dataclasses.replace(row, seconds=0) for row in history.rows] == [
        dataclasses.replace(row, seconds=0) for row in expected.rows
    ]
    assert same(weights(model), weights(undisturbed))
    for data in (whole, cut):
        assert len(list(run_folder(data).iterdir())) == 7


RUN_TO_EPOCH_3 = """
import sys, time
from pathlib import Path
import torch
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.training.module import TrainingModule
from tests.pipeline.training.runs import quick
from tests.pipeline.training.tiny_models import TinyModel

store, folder = sys.argv[1], Path(sys.argv[2])
real = TrainingModule.training_step

def step(self, batch, number):
    loss = real(self, batch, number)
    if (self.current_epoch, number) == (2, 2):
        (folder / "in epoch 3").touch()
        time.sleep(60)
    return loss

TrainingModule.training_step = step
torch.set_num_threads(1)
data = prepare_data(store, chip_size=24, batch_size=4, working_dir=folder)
quick(TinyModel(data, dropout=0.2), data, epochs=5)
"""


def test_a_run_killed_in_the_middle_of_an_epoch_is_resumed_bit_for_bit(toy_store, tmp_path):
    cut = tmp_path / "cut"
    cut.mkdir()
    command = [sys.executable, "-c", RUN_TO_EPOCH_3, str(toy_store), str(cut)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as process:
        while not (cut / "in epoch 3").exists() and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL

    ended = []
    for folder, resume in ((tmp_path / "whole", None), (cut, cut)):
        data = prepare_data(toy_store, chip_size=24, batch_size=4, working_dir=folder)
        model = TinyModel(data, dropout=0.2)
        last = run_folder(data) / "last.ckpt" if resume else None
        history = quick(model, data, epochs=5, resume=last)
        ended.append(([dataclasses.replace(row, seconds=0) for row in history.rows], weights(model)))
    (undisturbed, expected), (resumed, reached) = ended
    assert resumed == undisturbed
    assert same(reached, expected)


def interrupt_in(patch, *, epoch):
    real = TrainingModule.training_step

    def interrupted(self, batch, number):
        if self.current_epoch == epoch and number == 2:
            raise KeyboardInterrupt
        return real(self, batch, number)

    patch.setattr(TrainingModule, "training_step", interrupted)


def test_an_interrupt_keeps_the_weights_reached_and_the_interrupt_key_working(data, monkeypatch):
    interrupt_in(monkeypatch, epoch=0)
    model = TinyModel(data)
    before = weights(model)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(RunInterrupted, match="no epoch was written"):
        quick(model, data)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not same(weights(model), before)


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"epochs": 2}, "holds 2 epochs already"),
        ({"epochs": 7}, "steps was .* and is"),
        ({"epochs": 4, "seed": 1}, "seed was 42 and is 1"),
        ({"epochs": 4, "one_cycle": False}, "one_cycle was True and is False"),
    ],
)
def test_a_run_with_other_settings_cannot_be_resumed(data, monkeypatch, change, remedy):
    with monkeypatch.context() as patch:
        interrupt_in(patch, epoch=2)
        with pytest.raises(RunInterrupted):
            quick(TinyModel(data), data, epochs=4)
    with pytest.raises(SettingError, match=remedy):
        quick(TinyModel(data), data, **{"resume": run_folder(data) / "last.ckpt", **change})


def test_a_file_that_is_no_checkpoint_is_refused_and_not_executed(data, tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"rasterloom": Payload()}, tmp_path / "evil.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    for name in ("evil", "text", "other"):
        with pytest.raises(SettingError, match="not a checkpoint that fit wrote"):
            quick(TinyModel(data), data, resume=tmp_path / f"{name}.ckpt")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(MissingInputError, match="no checkpoint"):
        quick(TinyModel(data), data, resume=tmp_path / "nothing.ckpt")
