"""Running means of the optimiser, from one run to the next."""

import copy

import torch

from rasterloom.pipeline.training.moments import take_moments
from tests.pipeline.training.runs import quick, same, weights
from tests.pipeline.training.tiny_models import TinyModel


def optimizer_of(model):
    return torch.optim.AdamW([{"params": g["params"], "lr": 0.1} for g in model.param_groups()])


def test_fit_leaves_the_running_means_at_the_model_and_the_next_run_begins_with_them(data):
    model = TinyModel(data)
    quick(model, data)
    optimizer = optimizer_of(model)
    take_moments(optimizer, model)
    state = optimizer.state_dict()
    assert state["param_groups"][0]["lr"] == 0.1
    kept = model.optimizer_state["state"]
    assert state["state"].keys() == kept.keys()
    assert kept
    for number, values in kept.items():
        assert torch.equal(state["state"][number]["exp_avg"], values["exp_avg"])
        assert values["exp_avg"].abs().max() > 0


def test_the_next_run_goes_another_way_without_them(data):
    first = TinyModel(data)
    quick(first, data, checkpoint=False)
    forgetful = copy.copy(first)
    forgetful.network = copy.deepcopy(first.network)
    forgetful.optimizer_state = None
    quick(first, data, checkpoint=False)
    quick(forgetful, data, checkpoint=False)
    assert not same(weights(first), weights(forgetful))


def test_running_means_of_other_layers_are_not_taken(data):
    model = TinyModel(data)
    quick(model, data)
    model.optimizer_state["state"][0]["exp_avg"] = torch.zeros(3, 3)
    optimizer = optimizer_of(model)
    take_moments(optimizer, model)
    assert optimizer.state_dict()["state"] == {}


def test_what_is_kept_can_be_read_without_executing_anything(data, tmp_path):
    model = TinyModel(data)
    quick(model, data)
    torch.save(model.optimizer_state, tmp_path / "optimizer.pth")
    assert torch.load(tmp_path / "optimizer.pth", weights_only=True).keys() == model.optimizer_state.keys()
