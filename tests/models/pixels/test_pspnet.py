import inspect

import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.pspnet import build_pspnet
from rasterloom.models.pixels import pspnet
from rasterloom.models.pixels.pspnet import PSPNetClassifier

TINY = {"backbone": "timm:test_resnet", "pretrained": False, "encoder_depth": 3}


def test_the_constructor_has_the_documented_arguments():
    parameters = inspect.signature(PSPNetClassifier).parameters
    plain = [(p.name, p.default) for p in parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    assert plain[0][0] == "data"
    assert plain[1:] == [
        ("backbone", None),
        ("use_unet", True),
        ("pyramid_sizes", (1, 2, 3, 6)),
        ("pretrained_path", None),
        ("unet_aux_loss", False),
        ("pointrend", False),
    ]
    assert {p.kind for p in parameters.values()} >= {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }


def test_arguments_by_position_reach_their_settings(make_data):
    model = PSPNetClassifier(
        make_data(), "timm:test_resnet", False, [1, 2], None, False, True, encoder_depth=3, pretrained=False
    )
    parameters = model.spec.parameters
    assert parameters["pyramid_sizes"] == [1, 2]
    assert (parameters["use_unet"], parameters["pointrend"]) == (False, True)
    defaults = PSPNetClassifier.complete_parameters({})
    assert defaults["backbone"] == "resnet50"
    assert defaults["pyramid_sizes"] == [1, 2, 3, 6]


def test_use_net_is_another_spelling_of_use_unet(make_data):
    assert PSPNetClassifier(make_data(), use_net=False, **TINY).spec.parameters["use_unet"] is False
    assert PSPNetClassifier(make_data(), use_net=True, **TINY).spec.parameters["use_unet"] is True
    with pytest.raises(SettingError, match="mean the same: give one of them"):
        PSPNetClassifier(make_data(), use_unet=False, use_net=True, **TINY)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"colour": 1}, "does not take colour: it takes .*unet_aux_loss"),
        ((), {"backend": "tensorflow"}, "use 'pytorch'"),
        ((None, True, (1,), None, False, False, True), {}, "name the further ones"),
        ((), {"unet_aux_loss": True, "use_unet": False}, "use use_unet=True"),
    ],
)
def test_what_it_does_not_take_is_refused(make_data, args, kwargs, message):
    with pytest.raises(SettingError, match=message):
        PSPNetClassifier(make_data(), *args, **{**({} if args else TINY), **kwargs})


def test_a_pretrained_backbone_is_frozen_until_unfreeze(monkeypatch, make_data):
    # the weights themselves play no part: a random network stands in for a fetched one
    monkeypatch.setattr(
        pspnet, "build_pspnet", lambda **settings: build_pspnet(**{**settings, "pretrained": False})
    )
    model = PSPNetClassifier(make_data(), "resnet18", encoder_depth=3)
    assert not model.network.encoder.layer1[0].conv1.weight.requires_grad
    assert all(p.requires_grad for p in model.network.decoder.parameters())
    model.unfreeze()
    assert all(p.requires_grad for p in model.network.parameters())


def test_only_backbones_that_can_be_dilated_are_offered_where_they_must(make_data):
    up, paper = (PSPNetClassifier(make_data(), use_unet=unet, **TINY) for unet in (True, False))
    assert up.supported_backbones == PSPNetClassifier.backbones()
    assert "timm:hrnet_w18" in up.supported_backbones
    assert paper.supported_backbones == PSPNetClassifier.dilated_backbones()
    assert "timm:hrnet_w18" not in paper.supported_backbones
    assert {"resnet50", "vgg16", "densenet121", "mobilenet_v2"} <= set(paper.supported_backbones)


def test_a_saved_model_is_started_from(make_data, tmp_path):
    first = PSPNetClassifier(make_data(), unet_aux_loss=True, **TINY)
    path = first.save(tmp_path / "first", compute_metrics=False)
    second = PSPNetClassifier(make_data(), pretrained_path=path, unet_aux_loss=True, **TINY)
    pixels = torch.randn(1, 3, 32, 32)
    for model in (first, second):
        model.network.eval()
    assert torch.equal(first.network(pixels), second.network(pixels))
