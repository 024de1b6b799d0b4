import pytest
import torch

from rasterloom.models.backbones.encoder import (
    EncoderSettings,
    build_encoder,
    encoder_stride,
    with_backbone,
)
from rasterloom.models.errors import SettingError


@torch.inference_mode()
@pytest.mark.parametrize("bands", [1, 3, 13])
@pytest.mark.parametrize("backbone", ["resnet18", "timm:test_resnet", "timm:convnext_atto"])
def test_maps_are_halves_for_any_number_of_bands(bands, backbone):
    settings = EncoderSettings(backbone=backbone, encoder_depth=4)
    encoder = build_encoder(bands=bands, settings=settings, dilated=False, pretrained=False).eval()
    maps = encoder(torch.zeros(1, bands, 32, 32))
    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4, 2]
    assert [m.shape[1] for m in maps] == list(encoder.out_channels)


def test_three_halvings_need_no_dilation():
    settings = EncoderSettings(backbone="timm:hrnet_w18", encoder_depth=3)
    encoder = build_encoder(bands=3, settings=settings, dilated=True, pretrained=False).eval()
    assert encoder(torch.zeros(1, 3, 32, 32))[-1].shape[-1] == 4
    assert encoder_stride(3, dilated=True) == encoder_stride(3, dilated=False) == 8
    assert (encoder_stride(5, dilated=False), encoder_stride(5, dilated=True)) == (32, 8)


def test_a_failure_of_a_networks_own_says_what_it_cannot_feed():
    def make(backbone, weights):
        raise AssertionError

    with pytest.raises(SettingError, match=r"convnext_atto cannot feed a kite \(AssertionError\): it needs"):
        with_backbone("timm:convnext_atto", make, pretrained=False, what="a kite")


def test_our_own_errors_are_not_wrapped():
    def make(backbone, weights):
        raise SettingError("use another")

    with pytest.raises(SettingError, match=r"^use another$"):
        with_backbone("timm:convnext_atto", make, pretrained=False, what="a kite")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder_depth": 2}, "use 3, 4 or 5"),
        ({"encoder_depth": 4.0}, "use 3, 4 or 5"),
        ({"pretrained": 1}, "use True or False"),
        ({"backbone": ""}, "is not a name"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        EncoderSettings(**settings)
