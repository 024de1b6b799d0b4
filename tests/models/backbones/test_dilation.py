import pytest
import torch
from torch import nn

from rasterloom.models.backbones.dilation import DILATED_STRIDE
from rasterloom.models.backbones.encoder import EncoderSettings, build_encoder


def _pair(backbone: str) -> tuple[nn.Module, nn.Module]:
    settings = EncoderSettings(backbone=backbone)
    return tuple(
        build_encoder(bands=3, settings=settings, dilated=dilated, pretrained=False).eval()
        for dilated in (False, True)
    )


@torch.inference_mode()
@pytest.mark.parametrize(
    "backbone", ["resnet18", "vgg11", "densenet121", "mobilenet_v2", "timm:efficientnet_b0"]
)
def test_a_dilated_encoder_has_the_same_weights_and_channels_and_stops_at_an_eighth(backbone):
    plain, dilated = _pair(backbone)
    dilated.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    coarse, fine = plain(images), dilated(images)
    assert [m.shape[1] for m in coarse] == [m.shape[1] for m in fine] == list(dilated.out_channels)
    assert [m.shape[-1] for m in coarse] == [64, 32, 16, 8, 4, 2]
    assert [m.shape[-1] for m in fine] == [64, 32, 16, 8, 8, 8]
    assert 64 // fine[-1].shape[-1] == DILATED_STRIDE
    for before, after in zip(coarse[:4], fine[:4], strict=True):
        torch.testing.assert_close(before, after)


def test_layers_look_as_far_as_they_did():
    vgg, densenet = (_pair(name)[1].features for name in ("vgg11", "densenet121"))
    convolutions = [layer for layer in vgg if isinstance(layer, nn.Conv2d)]
    assert [layer.dilation[0] for layer in convolutions] == [1, 1, 1, 1, 1, 1, 2, 2]
    for block, rate in ((2, 1), (3, 2), (4, 4)):
        layers = densenet.get_submodule(f"denseblock{block}").modules()
        rates = {p.dilation[0] for p in layers if isinstance(p, nn.Conv2d) and p.kernel_size == (3, 3)}
        assert rates == {rate}
