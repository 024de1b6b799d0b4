import inspect

import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.deeplab import build_deeplab
from rasterloom.models.pixels import deeplab
from rasterloom.models.pixels.deeplab import DeepLab

TINY = {"backbone": "timm:test_resnet", "pretrained": False, "decoder_channels": 16}


def test_the_constructor_has_the_documented_arguments():
    parameters = inspect.signature(DeepLab).parameters
    plain = [(p.name, p.default) for p in parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    assert plain[0][0] == "data"
    assert plain[1:] == [("backbone", None), ("pretrained_path", None), ("pointrend", False)]
    assert {p.kind for p in parameters.values()} >= {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }


def test_settings_stand_in_the_description_with_their_defaults(make_data):
    model = DeepLab(make_data(bands=5), pointrend=True, keep_dilation=True, **TINY)
    assert model.spec.parameters["keep_dilation"] is True
    assert model.tile_multiple == 8
    assert DeepLab.complete_parameters({})["backbone"] == "resnet101"
    assert model.network.eval()(torch.zeros(1, 5, 16, 24)).shape == (1, 4, 16, 24)


def test_pointrend_is_the_fourth_argument_by_position(make_data):
    model = DeepLab(make_data(), "timm:test_resnet", None, True, pretrained=False, decoder_channels=16)
    assert model.spec.parameters["pointrend"] is True
    assert model.tile_multiple == 32


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"use_unet": True}, "does not take use_unet: it takes .*keep_dilation"),
        ((), {"backend": "tensorflow"}, "use 'pytorch'"),
        ((None, None, True, "pytorch"), {}, "name the further ones"),
        ((), {"keep_dilation": True}, "use it with pointrend=True"),
        ((), {"class_balancing": True, "class_weights": {1: 2.0}}, "use class_balancing=False"),
        ((), {"class_weights": {3: 2.0}}, r"class_weights names \[3\]"),
        ((), {"class_weights": [1.0, 2.0]}, "has 2 numbers, but there are 4 outputs"),
    ],
)
def test_what_it_does_not_take_is_refused(make_data, args, kwargs, message):
    with pytest.raises(SettingError, match=message):
        DeepLab(make_data(), *args, **{**({} if args else TINY), **kwargs})


def test_a_pretrained_backbone_is_frozen_until_unfreeze(monkeypatch, make_data):
    # the weights themselves play no part: a random network stands in for a fetched one
    monkeypatch.setattr(
        deeplab, "build_deeplab", lambda **settings: build_deeplab(**{**settings, "pretrained": False})
    )
    model = DeepLab(make_data(bands=4), "resnet18", encoder_depth=3)
    encoder = model.network.encoder
    assert not encoder.layer1[0].conv1.weight.requires_grad
    assert encoder.conv1.weight.requires_grad
    model.unfreeze()
    assert all(p.requires_grad for p in model.network.parameters())


def test_backbones_that_cannot_be_dilated_are_offered_with_pointrend_only(make_data):
    assert "timm:hrnet_w18" not in DeepLab.backbones()
    assert {"resnet101", "vgg16", "densenet121", "mobilenet_v2"} <= set(DeepLab.backbones())
    assert DeepLab(make_data(), **TINY).supported_backbones == DeepLab.backbones()
    assert "timm:hrnet_w18" in DeepLab(make_data(), pointrend=True, **TINY).supported_backbones
