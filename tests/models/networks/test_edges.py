"""The networks for edges: which maps they look at, and how their scores come together."""

import pytest
import torch
from torch import nn

from rasterloom.models.backbones.encoder import build_encoder
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.bdcn import BdcnSettings, ScaleEnhancement, added_up, build_bdcn
from rasterloom.models.networks.edges import EdgeSettings, Fuse, as_two_classes, edge_scores, seen_maps
from rasterloom.models.networks.hed import build_hed

BUILDERS = [(build_hed, EdgeSettings), (build_bdcn, BdcnSettings)]


@pytest.mark.parametrize(
    ("backbone", "depth", "sides"),
    [
        ("vgg11_bn", 3, [32, 16, 8]),
        ("timm:test_resnet", 3, [16, 8, 4]),
        ("timm:test_convnext", 4, [8, 4, 2]),  # it begins at a quarter
    ],
)
def test_the_maps_that_are_looked_at_begin_at_the_finest_with_features(backbone, depth, sides):
    settings = EdgeSettings(backbone=backbone, encoder_depth=depth, pretrained=False)
    encoder = build_encoder(bands=2, settings=settings, dilated=False, pretrained=False)
    maps = encoder(torch.zeros(2, 2, 32, 32))
    assert [maps[place].shape[-1] for place in seen_maps(encoder)] == sides
    assert all(maps[place].shape[1] == encoder.out_channels[place] > 0 for place in seen_maps(encoder))


@pytest.mark.parametrize(("build", "kind"), BUILDERS)
def test_training_answers_the_fused_score_first_and_then_those_of_all_sides(build, kind):
    settings = kind(backbone="timm:test_resnet", encoder_depth=3, pretrained=False)
    network = build(bands=3, settings=settings, pretrained=False)
    parts = network(torch.randn(2, 3, 32, 32))
    assert [part.logits.shape for part in parts] == [(2, 1, 32, 32)] * len(parts)
    assert len(parts) == (4 if build is build_hed else 7)
    weights = [part.weight for part in parts]
    assert weights == ([1.0] * 4 if build is build_hed else [1.1] + [0.5] * 6)


@pytest.mark.parametrize(("build", "kind"), BUILDERS)
def test_what_is_answered_is_the_fused_score_against_zero(build, kind):
    settings = kind(backbone="vgg11", encoder_depth=2, pretrained=False)
    network = build(bands=3, settings=settings, pretrained=False)  # without normalisation layers
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    fused = network(images)[0].logits
    logits = network.eval()(images)
    assert torch.count_nonzero(logits[:, 0]) == 0
    torch.testing.assert_close(logits[:, 1:], fused)
    torch.testing.assert_close(edge_scores(logits), fused[:, 0])
    assert torch.equal(as_two_classes(fused)[:, 1:], fused)


def test_a_cascade_adds_what_came_before_and_teaches_only_itself():
    scores = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    added = added_up(scores)
    torch.testing.assert_close(added, scores.cumsum(dim=1))
    added[:, 2].sum().backward()
    assert torch.equal(scores.grad[:, 2], torch.ones(1, 2, 2))
    assert torch.count_nonzero(scores.grad[:, :2]) == 0


def test_at_first_the_fused_score_is_the_mean():
    scores = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Fuse(5)(scores), scores.mean(dim=1, keepdim=True))


def test_scale_enhancement_looks_twelve_pixels_beyond_its_first_convolution():
    module = ScaleEnhancement(1, 2)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.fill_(1.0)
                part.bias.zero_()
    image = torch.zeros(1, 1, 41, 41)
    image[0, 0, 20, 20] = 1.0
    seen = module(image)[0, 0].nonzero()
    assert (seen.min().item(), seen.max().item()) == (20 - 13, 20 + 13)


@pytest.mark.parametrize("channels", [0, 2000, 1.5, True])
def test_channels_that_cannot_be_are_refused(channels):
    with pytest.raises(SettingError, match="scale_channels"):
        BdcnSettings(scale_channels=channels)


def test_a_transformer_of_any_image_size_works():
    settings = EdgeSettings(backbone="timm:pvt_v2_b0", encoder_depth=4, pretrained=False)
    network = build_hed(bands=4, settings=settings, pretrained=False).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 4, 32, 64)).shape == (1, 2, 32, 64)
