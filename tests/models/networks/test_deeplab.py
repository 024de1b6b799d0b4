import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.deeplab import DeepLabSettings, build_deeplab

TINY = {"backbone": "timm:test_resnet", "decoder_channels": 8}


def _build(*, bands: int = 3, outputs: int = 2, **settings):
    chosen = DeepLabSettings(**{**TINY, **settings})
    return build_deeplab(bands=bands, outputs=outputs, settings=chosen, pretrained=False).eval()


def _rates(network) -> list[int]:
    return [branch[0].dilation[0] for branch in network.decoder.branches]


@torch.inference_mode()
@pytest.mark.parametrize(
    "backbone", ["resnet18", "vgg11_bn", "densenet121", "mobilenet_v2", "timm:convnext_atto"]
)
def test_every_family_gives_a_score_for_each_pixel_and_output(backbone):
    network = _build(bands=4, outputs=5, backbone=backbone)
    assert network(torch.randn(1, 4, 32, 64)).shape == (1, 5, 32, 64)
    assert network.encoder(torch.randn(1, 4, 64, 64))[-1].shape[-1] == 8


@pytest.mark.parametrize(
    ("settings", "multiple", "rates"),
    [
        ({}, 8, [1, 12, 24, 36]),
        ({"encoder_depth": 3}, 8, [1, 12, 24, 36]),
        ({"pointrend": True}, 32, [1, 3, 6, 9]),
        ({"pointrend": True, "encoder_depth": 4}, 16, [1, 6, 12, 18]),
        ({"pointrend": True, "keep_dilation": True}, 8, [1, 12, 24, 36]),
    ],
)
def test_dilations_reach_equally_far_on_the_ground_at_every_stride(settings, multiple, rates):
    network = _build(bands=1, **settings)
    assert _rates(network) == rates
    assert DeepLabSettings(**{**TINY, **settings}).tile_multiple == multiple
    with torch.inference_mode():
        assert network.encoder(torch.zeros(1, 1, 64, 64))[-1].shape[-1] == 64 // multiple
        assert network(torch.zeros(1, 1, multiple, 2 * multiple)).shape == (1, 2, multiple, 2 * multiple)


@torch.inference_mode()
def test_every_pixel_knows_of_the_whole_tile():
    with torch.random.fork_rng():
        torch.manual_seed(0)  # some weights leave a pixel where it was by chance
        network = _build()
    plain, changed = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    changed[..., 56:, 56:] = 3.0
    assert (network(plain) != network(changed)).any(1).all()


def test_channels_of_the_decoder_are_those_asked_for():
    assert _build(decoder_channels=24).head.in_channels == 24


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder_channels": 0}, "integers from 1 to 4096"),
        ({"decoder_channels": 8.5}, "integers from 1 to 4096"),
        ({"pointrend": 1}, "use True or False"),
        ({"keep_dilation": True}, "use it with pointrend=True"),
        ({"encoder_depth": 6}, "use 3, 4 or 5"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        DeepLabSettings(**{**TINY, **settings})


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("timm:hrnet_w18", "cannot feed a dilated network .* or pointrend=True"),
        ("timm:pvt_v2_b0", "cannot feed a dilated network .*output_stride"),
        ("timm:swin_tiny_patch4_window7_224", "images of 224 pixels only"),
        ("timm:vit_tiny_patch16_224", "images of 224 pixels only"),
        ("resnet43", "Did you mean"),
    ],
)
def test_a_backbone_that_cannot_be_used_is_refused(backbone, message):
    with pytest.raises(SettingError, match=message):
        _build(backbone=backbone)
