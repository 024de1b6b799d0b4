import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.pspnet import PspSettings, _Pyramid, build_pspnet
from rasterloom.models.networks.segmentation import AUXILIARY_WEIGHT, SegmentationNetwork

TINY = {"backbone": "timm:test_resnet", "encoder_depth": 3}


def _build(*, bands: int = 3, outputs: int = 2, **settings) -> SegmentationNetwork:
    chosen = PspSettings(**{**TINY, **settings})
    return build_pspnet(bands=bands, outputs=outputs, settings=chosen, pretrained=False)


@pytest.mark.parametrize("backbone", ["resnet18", "densenet121", "mobilenet_v2"])
@pytest.mark.parametrize("use_unet", [True, False])
def test_every_family_gives_a_score_for_each_pixel_and_output(backbone, use_unet):
    network = _build(bands=4, outputs=5, backbone=backbone, encoder_depth=5, use_unet=use_unet).eval()
    with torch.inference_mode():
        assert network(torch.randn(1, 4, 32, 64)).shape == (1, 5, 32, 64)


@pytest.mark.parametrize(
    ("settings", "multiple"),
    [
        ({}, 32),
        ({"use_unet": False}, 8),
        ({"pointrend": True}, 32),
        ({"pointrend": True, "use_unet": False}, 32),
        ({"pointrend": True, "use_unet": False, "keep_dilation": True}, 8),
        ({"encoder_depth": 3}, 8),
        ({"encoder_depth": 4, "use_unet": False}, 8),
    ],
)
def test_the_tile_multiple_is_the_coarsest_stride(settings, multiple):
    chosen = PspSettings(**{"backbone": "timm:test_resnet", **settings})
    assert chosen.tile_multiple == multiple
    network = build_pspnet(bands=1, outputs=2, settings=chosen, pretrained=False).eval()
    with torch.inference_mode():
        assert network.encoder(torch.zeros(1, 1, 64, 64))[-1].shape[-1] == 64 // multiple
        assert network(torch.zeros(1, 1, multiple, 2 * multiple)).shape == (1, 2, multiple, 2 * multiple)


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(1,), (2, 3), (1, 2, 3, 6)])
def test_the_pyramid_pools_to_grids_of_its_sizes(sizes):
    seen = []
    pyramid = _Pyramid(8, sizes)
    for branch in pyramid.branches:
        branch.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    maps = torch.randn(2, 8, 12, 12)
    assert pyramid.eval()(maps).shape[-2:] == (12, 12)
    assert [pooled.shape[-1] for pooled in seen] == list(sizes)
    for size, pooled in zip(sizes, seen, strict=True):
        cells = maps.unflatten(3, (size, -1)).unflatten(2, (size, -1)).mean(dim=(3, 5))
        torch.testing.assert_close(pooled, cells)


def test_the_side_output_counts_less_and_is_gone_in_inference():
    network = _build(unet_aux_loss=True, outputs=3)
    main, side = network.train()(torch.randn(2, 3, 32, 32))
    assert (main.weight, side.weight) == (1, AUXILIARY_WEIGHT) == (1, 0.4)
    assert main.logits.shape == side.logits.shape == (2, 3, 32, 32)
    logits = network.eval()(torch.randn(2, 3, 32, 32))
    assert isinstance(logits, torch.Tensor)


@pytest.mark.parametrize("use_unet", [True, False])
def test_pointrend_starts_from_coarser_scores(use_unet):
    network = _build(pointrend=True, use_unet=use_unet)
    coarse = network.head(network.decoder(network.encoder(torch.randn(2, 3, 32, 32))))
    assert coarse.shape[-1] == (8 if use_unet else 4)
    plain, points = network.train()(torch.randn(2, 3, 32, 32))
    assert plain.logits.shape == (2, 2, 32, 32)
    assert points.logits.shape[:2] == (2, 2)
    assert points.logits.shape[2] == points.at.shape[1] == 32 * 32 // 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pyramid_sizes": []}, "leaves no pyramid"),
        ({"pyramid_sizes": [0]}, "integers from 1 to 64"),
        ({"pyramid_sizes": 3}, "use a list of integers"),
        ({"use_unet": "yes"}, "use True or False"),
        ({"unet_aux_loss": True, "use_unet": False}, "use use_unet=True"),
        ({"decoder_channels": [8, 8, 8], "use_unet": False}, "use use_unet=True, or leave it out"),
        ({"decoder_channels": [8, 8]}, "give 3 numbers"),
        ({"keep_dilation": True}, "use it with pointrend=True"),
        ({"encoder_depth": 2}, "use 3, 4 or 5"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        PspSettings(**{**TINY, **settings})
