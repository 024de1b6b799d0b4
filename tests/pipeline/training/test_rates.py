"""The learning-rate finder."""

import numpy as np
import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.training.rates import choose_rate, find_rate
from tests.pipeline.datasets.stores import toy_chips, write_store
from tests.pipeline.training.tiny_models import TinyModel


def test_the_sweep_leaves_no_trace(data):
    model = TinyModel(data, dropout=0.2)
    model.network[0].weight.grad = torch.ones_like(model.network[0].weight)
    model.network.eval()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    find_rate(model, data)
    assert torch.equal(torch.rand(2), expected)
    after = model.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(part.training for part in model.network.modules())
    assert (model.network[0].weight.grad == 1).all()
    assert model.network[4].weight.grad is None


def test_the_same_data_gives_the_same_curve(data):
    assert find_rate(TinyModel(data), data) == find_rate(TinyModel(data), data)


def test_the_rate_found_lies_where_the_loss_falls(data):
    curve = find_rate(TinyModel(data), data)
    assert list(curve.rates) == sorted(curve.rates)
    assert len(curve.rates) == len(curve.losses)
    assert curve.rates[0] < curve.best < curve.rates[-1]
    place = curve.rates.index(curve.best)
    assert min(curve.losses) < curve.losses[place] < curve.losses[0]


def test_two_batches_are_enough(tmp_path):
    path = write_store(tmp_path / "few.zarr", *toy_chips(5))
    data = prepare_data(path, chip_size=16, batch_size=2)
    assert len(data.train_loader()) == 2
    assert 1e-6 < find_rate(TinyModel(data), data).best < 1


def test_a_loss_that_is_no_number_from_the_start_is_reported(data, monkeypatch):
    monkeypatch.setattr(TinyModel, "loss", lambda self, logits, target: logits.mean() * float("nan"))
    with pytest.raises(SettingError, match="not a number before the first step"):
        find_rate(TinyModel(data), data)


def test_the_choice_is_in_the_valley_of_a_typical_curve():
    rates = np.geomspace(1e-6, 1, 60)
    exponent = np.log10(rates)
    losses = 1.0 - 0.8 / (1 + np.exp(-4 * (exponent + 3))) + np.where(exponent > -1, 5 * (exponent + 1), 0)
    assert 1e-4 < choose_rate(rates, losses) < 1e-1


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]])
def test_losses_that_never_fall_give_a_careful_rate(losses):
    assert choose_rate([1e-4, 1e-3, 1e-2, 1e-1], losses) == pytest.approx(1e-5)
