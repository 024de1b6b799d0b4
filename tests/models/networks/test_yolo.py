import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.yolo import PAPER_SHAPES, YoloSettings, build_yolo
from tests.support.averaging import averaging

TINY = {"backbone": "timm:test_resnet", "head_channels": [8, 16, 16]}


def _build(*, bands: int = 3, classes: int = 2, **settings):
    chosen = YoloSettings(**{**TINY, **settings})
    return build_yolo(bands=bands, classes=classes, settings=chosen, pretrained=False).eval()


@torch.inference_mode()
@pytest.mark.parametrize(
    "backbone", ["darknet53", "resnet18", "vgg11_bn", "densenet121", "timm:convnext_atto"]
)
def test_every_family_answers_for_each_anchor(backbone):
    network = _build(bands=4, classes=3, backbone=backbone)
    answers = network(torch.randn(2, 4, 64, 32))
    assert answers.shape == (2, 3 * (8 * 4 + 4 * 2 + 2), 5 + 3)
    assert len(network.anchors(64, 32).boxes) == answers.shape[1]


@torch.inference_mode()
def test_hardly_anything_is_an_object_at_first():
    certainty = _build()(torch.randn(1, 3, 64, 64))[..., 4].sigmoid()
    assert certainty.max() < 0.05


@torch.inference_mode()
@pytest.mark.parametrize(("row", "col"), [(0, 3), (3, 1), (1, 2)])
def test_answers_are_in_the_order_of_the_anchors(row, col):
    network = averaging(_build())
    images = torch.zeros(1, 3, 128, 128)
    images[..., row * 32 : row * 32 + 32, col * 32 : col * 32 + 32] = 1.0
    anchors = network.anchors(128, 128)
    brightness = network(images)[0].sum(dim=1)
    for stride in (8, 16, 32):
        mine = anchors.strides.flatten() == stride
        corner = anchors.corners[mine][int(brightness[mine].argmax())] * stride
        assert (corner // 32).tolist() == [col, row]


def test_anchors_are_put_in_ascending_area():
    assert YoloSettings(**TINY).shapes == PAPER_SHAPES
    shuffled = [list(pair) for pair in reversed(PAPER_SHAPES)]
    assert YoloSettings(**TINY, anchors=shuffled).shapes == PAPER_SHAPES


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"anchors": [[10, 10]]}, "9 pairs of width and height"),
        ({"anchors": [[10, 0]] * 9}, "above 0"),
        ({"anchors": [10] * 9}, "9 pairs"),
        ({"anchors": "123456789"}, "9 pairs"),
        ({"head_channels": [8, 8]}, "there are three heads"),
        ({"head_channels": 8}, "use a list of integers"),
        ({"encoder_depth": 4}, "use 5"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        YoloSettings(**{**TINY, **settings})


def test_a_backbone_without_the_maps_is_refused():
    with pytest.raises(SettingError, match="images of 224 pixels only"):
        _build(backbone="timm:vit_tiny_patch16_224")
