import pytest
import torch
from torch import nn

from rasterloom.models.backbones.encoder import build_encoder
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.fpn import PyramidSettings, build_pyramid, group_norm


def _built(*, further: int = 1, finest: int = 4, **settings):
    chosen = PyramidSettings(pretrained=False, pyramid_channels=16, **settings)
    encoder = build_encoder(bands=5, settings=chosen, dilated=False, pretrained=False)
    return chosen, encoder, build_pyramid(encoder, chosen, finest=finest, further=further)


@pytest.mark.parametrize("backbone", ["resnet18", "timm:test_resnet", "mobilenet_v2"])
@pytest.mark.parametrize(("depth", "finest", "further"), [(3, 4, 1), (5, 4, 1), (5, 8, 2)])
def test_maps_have_one_width_and_the_strides_that_are_told(backbone, depth, finest, further):
    settings, encoder, pyramid = _built(
        backbone=backbone, encoder_depth=depth, finest=finest, further=further
    )
    side = 4 * settings.tile_multiple
    with torch.no_grad():
        maps = pyramid.eval()(encoder.eval()(torch.zeros(1, 5, side, 2 * side)))
    strides = settings.strides(finest=finest, further=further)
    assert [tuple(each.shape) for each in maps] == [
        (1, 16, side // stride, 2 * side // stride) for stride in strides
    ]


def test_fine_maps_are_told_what_coarse_ones_know():
    _, encoder, pyramid = _built(backbone="resnet18", encoder_depth=3)
    maps = [each.detach() for each in encoder.eval()(torch.randn(1, 5, 32, 32))]
    before = pyramid.eval()(maps)[0]
    changed = [*maps[:-1], maps[-1] + 1]
    assert not torch.allclose(before, pyramid(changed)[0])


def test_a_backbone_without_a_map_at_every_half_is_refused():
    encoder = nn.Identity()
    encoder.out_channels = [3, 0, 0, 40, 80, 160]
    with pytest.raises(
        SettingError, match=r"cannot feed a feature pyramid.*from 1/4 to 1/32\): use resnet50"
    ):
        build_pyramid(encoder, PyramidSettings(pretrained=False), further=1)


def test_a_width_that_has_no_groups_is_normalised_as_a_whole():
    assert group_norm(16).num_groups == 8
    assert group_norm(10).num_groups == 1


def test_a_width_that_cannot_be_is_refused():
    with pytest.raises(SettingError, match="pyramid_channels"):
        PyramidSettings(pyramid_channels=0)
