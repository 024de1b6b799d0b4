import pytest

from rasterloom.models.backbones.names import BACKBONES, backbone_names, find_backbone, unknown_backbone
from rasterloom.models.errors import SettingError


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_every_listed_name_is_an_encoder_with_those_weights(name):
    from segmentation_models_pytorch.encoders import encoders

    backbone = find_backbone(name)
    assert backbone.weights in encoders[backbone.encoder]["pretrained_settings"]
    assert backbone.timm_name is None


@pytest.mark.parametrize("name", ["timm:convnext_atto", "tu-convnext_atto", "convnext_atto"])
def test_a_timm_network_has_one_spelling(name):
    backbone = find_backbone(name)
    assert backbone.name == "timm:convnext_atto"
    assert backbone.encoder == "tu-convnext_atto"
    assert backbone.timm_name == "convnext_atto"
    assert find_backbone(backbone.name) == backbone


def test_the_listed_timm_networks_exist():
    import timm

    listed = [find_backbone(name).timm_name for name in backbone_names()]
    assert all(timm.is_model(name) for name in listed if name is not None)


def test_encoders_that_crash_the_process_are_not_listed():
    assert not [name for name in backbone_names() if "mobileone" in name]


@pytest.mark.parametrize("name", ["", "timm:", 34])
def test_a_name_must_be_text(name):
    with pytest.raises(SettingError, match="is not a name"):
        find_backbone(name)


def test_an_unknown_name_is_answered_with_the_closest():
    error = unknown_backbone("resnet43", timm_names=["resnet43x", "vit"])
    assert "Did you mean" in str(error)
    assert "resnet34" in str(error)
