"""What both model classes for lines must do beyond what every pixel classifier does."""

import inspect

import pytest
import torch

from rasterloom.models import ConnectNet, MultiTaskRoadExtractor
from rasterloom.models.catalog import find_adapter
from rasterloom.models.errors import ModelMismatchError
from rasterloom.pipeline.packages.load import build_model, load_package
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.training.model_types import find_model_type
from tests.support.adapters import adapter_model, learnable, noise, seeded_loss

KINDS = (MultiTaskRoadExtractor, ConnectNet)
DESIGNS = ({}, {"mtl_model": "hourglass", "hourglass_depth": 2, "hourglass_channels": 16})

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_and_defaults_are_those_of_the_reference(kind):
    given = inspect.signature(kind.__init__).parameters
    assert list(given) == ["self", "data", "backbone", "pretrained_path", "args", "kwargs"]
    usual = kind.complete_parameters({})
    assert {name: usual[name] for name in ("mtl_model", "gaussian_thresh", "orient_bin_size")} == {
        "mtl_model": "hourglass",
        "gaussian_thresh": 0.76,
        "orient_bin_size": 20,
    }
    assert usual["orient_theta"] == 8
    assert kind.complete_parameters({"mtl_model": "linknet"})["backbone"] == "resnet34"


@pytest.mark.parametrize(
    ("name", "kind"), [("MULTITASK_ROADEXTRACTOR", MultiTaskRoadExtractor), ("CONNECTNET", ConnectNet)]
)
def test_the_command_knows_it_by_the_name_of_the_reference(name, kind):
    assert find_model_type(name).load() is kind


@pytest.mark.parametrize("changes", DESIGNS)
def test_a_saved_model_knows_the_same_orientations_to_the_last_bit(changes, tmp_path):
    row = find_adapter("ConnectNet")
    model = adapter_model(row, orient_bin_size=30, gaussian_thresh=0.5, orient_theta=3, **changes)
    seeded_loss(model, learnable(row))  # moves the running statistics away from their start
    loaded = build_model(load_package(save_package(model, tmp_path / "model")))
    assert loaded.spec.parameters == model.spec.parameters
    before, after = (one.orientations(noise(row, 2)) for one in (model, loaded))
    assert torch.equal(before.nan_to_num(-1), after.nan_to_num(-1))
    assert not before.isnan().all()
    # and what it would learn next: the labels become the same targets
    assert torch.equal(seeded_loss(model, learnable(row)), seeded_loss(loaded, learnable(row)))


def test_a_package_of_the_one_is_refused_by_the_other(tmp_path):
    path = save_package(adapter_model(find_adapter("ConnectNet")), tmp_path / "model")
    assert ConnectNet.from_model(path).spec.model == "ConnectNet"
    with pytest.raises(ModelMismatchError, match="ConnectNet"):
        MultiTaskRoadExtractor.from_model(path)
