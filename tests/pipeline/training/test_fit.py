"""fit: what a run leaves in the model, on disk and in the table."""

import inspect
import json
import logging
import warnings

import numpy as np
import pytest
import torch

from rasterloom.models.errors import (
    MissingExtraError,
    OutputError,
    SettingError,
)
from rasterloom.models.history import History
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.training import checkpoints, logs
from rasterloom.pipeline.training.evaluate import evaluate
from rasterloom.pipeline.training.fit import fit
from rasterloom.pipeline.training.learning import PixelJudge
from rasterloom.pipeline.training.module import TrainingModule
from tests.pipeline.datasets.stores import toy_chips, write_store
from tests.pipeline.training.runs import quick, run_folder, same, weights
from tests.pipeline.training.tiny_models import TinyModel


def rig(monkeypatch, losses):
    """Let the validation loss of each epoch be as told."""
    told = iter(losses)
    real = TrainingModule.on_train_epoch_end

    def rigged(self):
        self._epoch.valid.take()
        self._epoch.valid.add(torch.tensor(next(told)), 1)
        real(self)

    monkeypatch.setattr(TrainingModule, "on_train_epoch_end", rigged)


def test_arguments_and_defaults_are_those_of_the_reference():
    defaults = {
        n: p.default for n, p in inspect.signature(fit).parameters.items() if p.kind == p.KEYWORD_ONLY
    }
    assert defaults == {
        "epochs": 10,
        "lr": None,
        "one_cycle": True,
        "early_stopping": False,
        "checkpoint": True,
        "tensorboard": False,
        "monitor": "valid_loss",
    }


def test_a_toy_problem_is_learnt_with_a_rate_that_was_found(data):
    model = TinyModel(data)
    before = evaluate(model, data, show_progress=False).mean_iou()
    history = fit(model, data, epochs=8, show_progress=False)
    assert [row.epoch for row in history.rows] == list(range(1, 9))
    assert history.rows[-1].train_loss < 0.5 * history.rows[0].train_loss
    assert history.rows[-1].valid_loss < 0.5 * history.rows[0].valid_loss
    assert history.rows[-1].metrics["miou"] > max(0.8, before + 0.2)
    assert history.learning_rate > 0
    assert History.from_json(json.loads(json.dumps(history.to_json()))) == history


def test_the_table_says_what_the_weights_do(data):
    model = TinyModel(data)
    history = quick(model, data, checkpoint=False)
    scores = evaluate(model, data, show_progress=False)
    assert history.rows[-1].metrics["accuracy"] == scores.accuracy
    assert history.rows[-1].metrics["miou"] == scores.mean_iou(model.unscored_values)
    assert history.rows[-1].metrics["dice"] == scores.mean_f1(model.unscored_values)
    model.network.eval()
    with torch.no_grad():
        losses = [(model.loss(model.network(x), y).item(), len(x)) for x, y in data.valid_loader()]
    mean = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert history.rows[-1].valid_loss == pytest.approx(mean, rel=1e-5)


def test_the_same_seed_gives_the_same_weights(toy_store, tmp_path):
    data = prepare_data(toy_store, chip_size=24, batch_size=4, working_dir=tmp_path)
    results = []
    for disturbance, seed in ((1, 5), (2, 5), (3, 6)):
        torch.manual_seed(disturbance)
        model = TinyModel(data, dropout=0.3, mixup=True)
        quick(model, data, seed=seed)
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_the_callers_random_numbers_are_left_alone(data):
    model = TinyModel(data)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    quick(model, data)
    assert torch.equal(torch.rand(3), expected)


def test_the_best_epoch_is_restored(data, monkeypatch):
    seen = []
    real = TrainingModule.on_train_epoch_end

    def watch(self):
        seen.append({name: value.clone() for name, value in self.network.state_dict().items()})
        real(self)

    monkeypatch.setattr(TrainingModule, "on_train_epoch_end", watch)
    rig(monkeypatch, [0.9, 0.2, 0.2, 0.5])
    model = TinyModel(data)
    history = quick(model, data, epochs=4)
    assert [row.valid_loss for row in history.rows] == pytest.approx([0.9, 0.2, 0.2, 0.5])
    assert same(weights(model), seen[1])
    assert not same(weights(model), seen[3])
    assert sorted(p.name for p in run_folder(data).iterdir()) == ["best.ckpt", "last.ckpt"]


def test_the_monitored_column_decides_which_epoch_is_best(data, monkeypatch):
    metrics = iter([0.1, 0.9, 0.3])
    monkeypatch.setattr(
        PixelJudge,
        "figures",
        lambda self, tally: dict.fromkeys(("accuracy", "miou", "dice"), next(metrics)),
    )
    model = TinyModel(data)
    history = quick(model, data, epochs=3, monitor="miou")
    assert history.best("miou").epoch == 2
    content = torch.load(run_folder(data) / "best.ckpt", weights_only=True)
    assert len(content["rasterloom"]["history"]["rows"]) == 2


def test_without_checkpoints_nothing_is_written_and_the_last_epoch_stays(data, monkeypatch):
    rig(monkeypatch, [0.1, 0.9])
    model = TinyModel(data)
    last = []
    monkeypatch.setattr(TrainingModule, "on_fit_end", lambda self: last.append(weights(model)))
    quick(model, data, checkpoint=False)
    assert same(weights(model), last[0])
    assert list(data.working_dir.iterdir()) == []


def test_all_checkpoints_are_kept_when_asked_for(data):
    model = TinyModel(data)
    quick(model, data, epochs=3, checkpoint="all")
    names = sorted(p.name for p in run_folder(data).iterdir())
    assert names == ["best.ckpt", "epoch-001.ckpt", "epoch-002.ckpt", "epoch-003.ckpt", "last.ckpt"]
    for number in (1, 2, 3):
        content = torch.load(run_folder(data) / f"epoch-00{number}.ckpt", weights_only=True)
        assert len(content["rasterloom"]["history"]["rows"]) == number


def test_early_stopping_ends_the_run_when_nothing_gets_better(data, monkeypatch):
    rig(monkeypatch, [0.9, 0.5, *[0.4995] * 20])
    history = quick(TinyModel(data), data, epochs=20, early_stopping=True)
    assert len(history) == 2 + 5


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_good_weights(data, monkeypatch):
    model = TinyModel(data)
    before = weights(model)
    monkeypatch.setattr(TinyModel, "loss", lambda self, logits, target: logits.mean() * float("nan"))
    with pytest.raises(SettingError, match=r"in epoch 1: try a smaller lr, such as 0.001 instead of 0.01"):
        quick(model, data)
    assert same(weights(model), before)


def test_a_run_that_breaks_later_leaves_the_best_weights(data, monkeypatch):
    real = TrainingModule.training_step
    after_first = []

    def breaking(self, batch, number):
        loss = real(self, batch, number)
        if self.current_epoch == 1:
            after_first.append(True)
            self._model.loss = lambda logits, target: logits.mean() * float("nan")
        return loss

    monkeypatch.setattr(TrainingModule, "training_step", breaking)
    model = TinyModel(data)
    with pytest.raises(SettingError, match="epoch 2"):
        quick(model, data, epochs=3)
    best = torch.load(run_folder(data) / "best.ckpt", weights_only=True)["state_dict"]
    assert same(weights(model), {name.removeprefix("network."): value for name, value in best.items()})


def test_frozen_layers_do_not_move(data):
    model = TinyModel(data)
    model.network[0].requires_grad_(False)
    before = weights(model)
    quick(model, data)
    assert torch.equal(model.network[0].weight, before["0.weight"])
    assert not torch.equal(model.network[4].weight, before["4.weight"])
    model.network.requires_grad_(False)
    with pytest.raises(SettingError, match="unfreeze"):
        quick(model, data)


def test_a_slice_of_rates_moves_early_layers_less(data):
    model = TinyModel(data)
    before = weights(model)
    quick(model, data, lr=slice(1e-7, 1e-2))
    moved = {
        name: (weights(model)[name] - before[name]).abs().max().item() for name in ("0.weight", "4.weight")
    }
    assert moved["0.weight"] < 1e-4 < moved["4.weight"]


def test_the_rate_rises_and_falls_once_or_stays(data, monkeypatch):
    rates = []
    real = TrainingModule.training_step

    def watch(self, batch, number):
        rates.append(self.optimizers().param_groups[-1]["lr"])
        return real(self, batch, number)

    monkeypatch.setattr(TrainingModule, "training_step", watch)
    quick(TinyModel(data), data, one_cycle=False)
    assert set(rates) == {0.01}
    rates.clear()
    quick(TinyModel(data), data, epochs=4)
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(0.01, rel=0.05)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()


def test_iterations_and_accumulation_count_batches_and_steps(data, monkeypatch):
    batches, steps = [], []
    real = TrainingModule.training_step
    monkeypatch.setattr(
        TrainingModule, "training_step", lambda self, batch, n: batches.append(n) or real(self, batch, n)
    )
    real_step = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        steps.append(1)
        return real_step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    quick(TinyModel(data), data, epochs=2, iters_per_epoch=12, accumulate=5)
    assert len(batches) == 24
    assert len(steps) == 2 * 3


def test_clipping_and_half_precision_train_too(data):
    history = quick(TinyModel(data), data, precision="bf16", gradient_clip=0.5, epochs=4)
    assert history.rows[-1].train_loss < history.rows[0].train_loss


def test_nothing_of_lightning_shows(data, capfd, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("lightning.pytorch").level
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        quick(TinyModel(data), data, show_progress=True)
    out, err = capfd.readouterr()
    assert err == ""
    assert [r for r in caplog.records if "lightning" in r.name] == []
    lines = out.splitlines()
    assert lines[0].split() == ["epoch", "train_loss", "valid_loss", "accuracy", "miou", "dice", "time"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2"]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoints"]
    assert logging.getLogger("lightning.pytorch").level == level


def test_real_warnings_are_not_hidden(data):
    model = TinyModel(data)
    loss = model.loss

    def warning(logits, target):
        warnings.warn("something is odd with the labels", UserWarning, stacklevel=1)
        return loss(logits, target)

    model.loss = warning
    with pytest.warns(UserWarning, match="something is odd"):
        quick(model, data, epochs=1)


def test_a_log_for_tensorboard_is_written(data):
    pytest.importorskip("tensorboard")
    quick(TinyModel(data), data, tensorboard=True)
    (log,) = (data.working_dir / "training_log").iterdir()
    assert log.name == run_folder(data).name
    assert any("tfevents" in p.name for p in log.iterdir())


def test_without_tensorboard_the_extra_is_named_before_anything_runs(data, monkeypatch):
    monkeypatch.setattr(logs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"rasterloom\[tracking\]"):
        fit(TinyModel(data), data, tensorboard=True)
    assert list(data.working_dir.iterdir()) == []


def test_a_full_disk_is_reported_and_leaves_no_half_file(data, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_linked", full)
    with pytest.raises(OutputError, match=r"No space left.*checkpoint=False"):
        quick(TinyModel(data), data)
    assert list(run_folder(data).iterdir()) == []


def test_two_runs_in_one_second_do_not_share_a_folder(data):
    model = TinyModel(data)
    quick(model, data, epochs=1)
    quick(model, data, epochs=1)
    assert len(list((data.working_dir / "checkpoints").iterdir())) == 2


def test_a_single_small_batch_is_enough(tmp_path):
    data = prepare_data(write_store(tmp_path / "few.zarr", *toy_chips(3)), chip_size=16)
    history = fit(TinyModel(data), data, epochs=2, show_progress=False)
    assert len(history) == 2


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("epochs", 0, "1 or more"),
        ("lr", -1, "slice"),
        ("lr", slice(1e-3, None), "slice"),
        ("lr", "fast", "slice"),
        ("checkpoint", "some", "True, False or 'all'"),
        ("monitor", "beauty", "valid_loss, train_loss, accuracy, miou, dice"),
        ("accumulate", 0, "1 or more"),
        ("iters_per_epoch", 0, "1 or more"),
        ("gradient_clip", -1, "above 0"),
        ("precision", "8", "bf16-mixed"),
        ("callbacks", [], "accumulate, gradient_clip, iters_per_epoch, precision, resume, seed"),
    ],
)
def test_settings_that_cannot_work_are_refused(data, setting, value, remedy):
    with pytest.raises(SettingError, match=remedy):
        fit(TinyModel(data), data, **{setting: value})
