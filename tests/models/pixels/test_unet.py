import inspect

import pytest
import torch

from rasterloom.models.errors import PretrainedError, SettingError
from rasterloom.models.networks.unet import build_unet
from rasterloom.models.pixels import unet
from rasterloom.models.pixels.unet import UnetClassifier


def test_the_constructor_has_the_documented_arguments():
    parameters = inspect.signature(UnetClassifier).parameters
    plain = [(p.name, p.default) for p in parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    assert plain[1:] == [("backbone", None), ("pretrained_path", None), ("backend", "pytorch")]
    assert plain[0][0] == "data"
    assert {p.kind for p in parameters.values()} >= {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }


def test_settings_stand_in_the_description_with_their_defaults(make_data, shape):
    model = UnetClassifier(make_data(bands=4), focal_loss=True, ignore_classes=[7], **shape)
    parameters = model.spec.parameters
    assert parameters["backbone"] == "timm:test_resnet"
    assert parameters["decoder_channels"] == [16, 16, 8]
    assert parameters["ignore_classes"] == [7]
    assert (parameters["focal_loss"], parameters["mixup"]) == (True, False)
    assert UnetClassifier.complete_parameters({})["backbone"] == "resnet34"
    assert model.tile_multiple == 8
    assert model.network(torch.zeros(1, 4, 16, 16)).shape == (1, 4, 16, 16)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"classbalancing": True}, "does not take classbalancing: it takes .*class_balancing"),
        ((), {"backend": "tensorflow"}, "use 'pytorch'"),
        ((None, None, "pytorch", True), {}, "name the further ones"),
        ((), {"backbone": "resnet43"}, "Did you mean"),
        ((), {"dice_loss_fraction": 2}, "from 0 to 1"),
    ],
)
def test_what_it_does_not_take_is_refused(make_data, args, kwargs, message):
    with pytest.raises(SettingError, match=message):
        UnetClassifier(make_data(), *args, **{"pretrained": False, **kwargs})


def test_without_data_it_points_to_from_model():
    with pytest.raises(SettingError, match=r"UnetClassifier\.from_model"):
        UnetClassifier(None)


def test_pretrained_weights_out_of_reach_name_the_way_on(make_data):
    with pytest.raises(PretrainedError, match="pretrained=False"):
        UnetClassifier(make_data(), "resnet18")


@pytest.mark.parametrize("bands", [3, 4])
def test_a_pretrained_backbone_is_frozen_until_unfreeze(monkeypatch, make_data, bands):
    # the weights themselves play no part: a random network stands in for a fetched one
    monkeypatch.setattr(
        unet, "build_unet", lambda **settings: build_unet(**{**settings, "pretrained": False})
    )
    model = UnetClassifier(make_data(bands=bands), "resnet18", encoder_depth=3)
    encoder = model.network.encoder
    assert not encoder.layer1[0].conv1.weight.requires_grad
    assert encoder.layer1[0].bn1.weight.requires_grad
    assert encoder.conv1.weight.requires_grad is (bands != 3)
    assert all(p.requires_grad for p in model.network.decoder.parameters())
    model.unfreeze()
    assert all(p.requires_grad for p in model.network.parameters())


def test_random_weights_all_learn_from_the_start(make_data, shape):
    model = UnetClassifier(make_data(), **shape)
    assert all(p.requires_grad for p in model.network.parameters())
    early, late = model.param_groups()
    assert {id(p) for p in early["params"]} == {id(p) for p in model.network.encoder.parameters()}
    assert late["params"]


def test_the_backbones_are_listed_by_class_and_model(make_data, shape):
    model = UnetClassifier(make_data(), **shape)
    assert model.supported_backbones == UnetClassifier.backbones()
    assert {"resnet34", "vgg16", "densenet121", "mobilenet_v2"} <= set(UnetClassifier.backbones())
    assert model.supported_datasets == ["Classified_Tiles"]
