"""Every setting of every model class changes what it should, and nothing else."""

import dataclasses

import pytest
import torch

from rasterloom.models.build import build
from rasterloom.models.catalog import find_adapter
from tests.support.adapters import TRAINABLE, adapter_model, adapter_spec, learnable, seeded_loss

pytestmark = pytest.mark.usefixtures("one_thread")

LOSS = {
    "class_weights": {"class_weights": {1: 5.0}},
    "mixup": {"mixup": True},
    "focal_loss": {"focal_loss": True},
    "dice_loss_fraction": {"dice_loss_fraction": 0.5},
    "dice_loss_average": {"dice_loss_fraction": 0.5, "dice_loss_average": "macro"},
    "ignore_classes": {"ignore_classes": [2]},
}
"""What each setting of the loss is set to; all else stays."""

SHAPE = {
    "UnetClassifier": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4, "decoder_channels": None},
        "decoder_channels": {"decoder_channels": [24, 16, 8]},
    },
    "PSPNetClassifier": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4, "decoder_channels": None},
        "decoder_channels": {"decoder_channels": [24, 16, 8]},
        "use_unet": {"use_unet": False, "decoder_channels": None},
        "pyramid_sizes": {"pyramid_sizes": [1, 2]},
        "unet_aux_loss": {"unet_aux_loss": True},
        "pointrend": {"pointrend": True},
    },
    "DeepLab": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4},
        "decoder_channels": {"decoder_channels": 24},
        "pointrend": {"pointrend": True},
    },
}
"""Settings that give the network other weights, by model class."""

ELSEWHERE = {"class_balancing", "pretrained", "keep_dilation"}
"""Settings that have a test of their own below or beside the adapter."""


def _shapes(model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.network.state_dict().items()}


def _gradients(model, batch) -> list[torch.Tensor]:
    seeded_loss(model, batch).backward()
    return [p.grad for p in model.network.parameters()]


@pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name)
def test_every_setting_is_tested(row):
    settings = set(row.load().complete_parameters({}))
    assert settings <= {*LOSS, *SHAPE.get(row.name, {}), *ELSEWHERE}


@pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("setting", LOSS)
def test_a_setting_of_the_loss_changes_loss_and_gradient_of_the_same_network(row, setting):
    before = {"dice_loss_fraction": 0.5} if setting == "dice_loss_average" else {}
    batch = learnable(row)
    plain, changed = adapter_model(row, **before), adapter_model(row, **LOSS[setting])
    assert all(map(torch.equal, plain.network.state_dict().values(), changed.network.state_dict().values()))
    assert not torch.isclose(seeded_loss(plain, batch), seeded_loss(changed, batch), rtol=1e-4)
    assert not all(map(torch.equal, _gradients(plain, batch), _gradients(changed, batch)))


@pytest.mark.parametrize(
    ("name", "setting"), [(name, setting) for name, settings in SHAPE.items() for setting in settings]
)
def test_a_setting_of_the_network_changes_its_weights(name, setting):
    row = find_adapter(name)
    assert _shapes(adapter_model(row)) != _shapes(adapter_model(row, **SHAPE[name][setting]))


@pytest.mark.parametrize("name", ["PSPNetClassifier", "DeepLab"])
def test_kept_dilation_gives_the_same_weights_finer_maps(name):
    row = find_adapter(name)
    settings = {"pointrend": True, "encoder_depth": 4, "decoder_channels": None}
    if name == "DeepLab":
        settings["decoder_channels"] = 32
    plain = adapter_model(row, **settings)
    kept = adapter_model(row, **settings, keep_dilation=True)
    assert _shapes(plain) == _shapes(kept)
    assert (plain.tile_multiple, kept.tile_multiple) == (16, 8)
    sides = [m.network.encoder(torch.zeros(1, 3, 64, 64))[-1].shape[-1] for m in (plain, kept)]
    assert sides == [4, 8]


@pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name)
def test_a_pretrained_model_is_described_so_and_built_without_fetching(row):
    spec = adapter_spec(row, pretrained=True)
    assert build(spec).spec.parameters["pretrained"] is True
    spec = dataclasses.replace(spec, parameters={**spec.parameters, "pretrained": False})
    assert build(spec).spec.parameters["pretrained"] is False
