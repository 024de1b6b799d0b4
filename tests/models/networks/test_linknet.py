import pytest
import torch

from rasterloom.models.networks.linknet import build_linknet
from rasterloom.models.networks.roads import RoadLogits, RoadSettings

pytestmark = pytest.mark.usefixtures("one_thread")


def linknet(backbone: str = "timm:test_resnet", **changes):
    settings = RoadSettings(mtl_model="linknet", backbone=backbone, pretrained=False, **changes)
    return build_linknet(bands=3, outputs=2, settings=settings, pretrained=False), settings


# the second has no map of a half of the image's side
@pytest.mark.parametrize("backbone", ["timm:test_resnet", "timm:test_convnext", "mobilenet_v2"])
@pytest.mark.parametrize("depth", [3, 5])
def test_both_ways_answer_on_the_grid_of_the_image(backbone, depth):
    network, settings = linknet(backbone, encoder_depth=depth, orient_bin_size=30)
    side = 2 * settings.tile_multiple
    answer = network(torch.zeros(2, 3, side, side + settings.tile_multiple))
    assert isinstance(answer, RoadLogits)
    (classes,), (orientations,) = answer.classes, answer.orientations
    assert classes.shape == (2, 2, side, side + settings.tile_multiple)
    assert orientations.shape == (2, 7, *classes.shape[-2:])


def test_in_use_it_answers_the_classes_of_both_ways():
    network, _ = linknet(encoder_depth=3)
    network.eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), network.both(images)[0])


def test_the_second_way_teaches_the_encoder_and_not_the_first():
    network, _ = linknet(encoder_depth=3)
    network(torch.randn(2, 3, 32, 32)).orientations[0].square().mean().backward()
    assert next(network.encoder.parameters()).grad.any()
    assert all(p.grad is None for p in network.classes.parameters())
