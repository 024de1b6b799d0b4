import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.unet import DECODER_CHANNELS, UnetSettings, build_unet


def _outputs(settings: UnetSettings, *, bands: int = 3, outputs: int = 2, side: int = 64) -> tuple[int, ...]:
    network = build_unet(bands=bands, outputs=outputs, settings=settings, pretrained=False).eval()
    with torch.inference_mode():
        return tuple(network(torch.randn(1, bands, side, side)).shape)


@pytest.mark.parametrize(
    "backbone", ["resnet18", "vgg11", "densenet121", "mobilenet_v2", "timm:convnext_atto"]
)
def test_every_family_gives_a_score_for_each_pixel_and_output(backbone):
    assert _outputs(UnetSettings(backbone=backbone), bands=4, outputs=5) == (1, 5, 64, 64)


@pytest.mark.parametrize("depth", [3, 4, 5])
def test_depth_decides_the_multiple_of_the_tile(depth):
    side = 2**depth
    settings = UnetSettings(backbone="resnet18", encoder_depth=depth)
    assert settings.tile_multiple == side
    assert _outputs(settings, side=side) == (1, 2, side, side)


def test_decoder_channels_shape_the_way_up():
    settings = UnetSettings(backbone="resnet18", encoder_depth=3, decoder_channels=[24, 12, 6])
    network = build_unet(bands=1, outputs=3, settings=settings, pretrained=False)
    assert network.segmentation_head[0].in_channels == 6
    plain = build_unet(
        bands=1, outputs=3, settings=UnetSettings(backbone="resnet18", encoder_depth=3), pretrained=False
    )
    assert plain.segmentation_head[0].in_channels == DECODER_CHANNELS[-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder_depth": 6}, "use 1, 2, 3, 4 or 5"),
        ({"encoder_depth": "5"}, "use 1, 2, 3, 4 or 5"),
        ({"decoder_channels": [16, 8]}, "give 5 numbers"),
        ({"decoder_channels": [0] * 5}, "integers from 1"),
        ({"pretrained": "yes"}, "use True or False"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        UnetSettings(**settings)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnet43", "Did you mean"),
        ("timm:swin_tiny_patch4_window7_224", "images of 224 pixels only"),
        ("timm:hf-hub:someone/something", "is not known"),
        ("timm:convnext_atto.no_such_tag", "is not known"),
        ("timm:vit_base_r50_s16_224", "only|cannot feed a U-Net"),
    ],
)
def test_a_backbone_that_cannot_be_used_is_refused(backbone, message):
    with pytest.raises(SettingError, match=message):
        build_unet(bands=3, outputs=2, settings=UnetSettings(backbone=backbone), pretrained=False)


def test_a_timm_network_without_trained_weights_says_so():
    with pytest.raises(SettingError, match="no trained weights for resnetaa34d"):
        build_unet(bands=3, outputs=2, settings=UnetSettings(backbone="timm:resnetaa34d"), pretrained=True)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_shallow_network_sees_few_pixels_around_each(depth):
    settings = UnetSettings(backbone="vgg11", pretrained=False, encoder_depth=depth)
    network = build_unet(bands=8, outputs=3, settings=settings, pretrained=False).eval()
    images = torch.randn(1, 8, 64, 64, requires_grad=True)
    network(images)[0, :, 32, 32].sum().backward()
    seen = (images.grad[0].abs().sum(dim=0) > 0).nonzero()
    assert 2**depth < (seen.max(dim=0).values - seen.min(dim=0).values).max() < 16 * 2**depth


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_a_backbone_without_the_map_that_is_asked_for_is_refused():
    settings = UnetSettings(backbone="timm:convnext_atto", pretrained=False, encoder_depth=1)
    with pytest.raises(SettingError, match="no map at 1/2 of the image"):
        build_unet(bands=3, outputs=2, settings=settings, pretrained=False)
