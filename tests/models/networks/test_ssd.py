import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.ssd import SsdSettings, build_ssd
from tests.support.averaging import averaging

TINY = {"backbone": "timm:test_resnet", "head_channels": 16, "grids": [4, 2]}


def _build(*, bands: int = 3, classes: int = 2, tile: int = 64, **settings):
    chosen = SsdSettings(**{**TINY, **settings})
    return build_ssd(bands=bands, classes=classes, tile=tile, settings=chosen, pretrained=False).eval()


@torch.inference_mode()
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "backbone",
    ["resnet18", "vgg11_bn", "densenet121", "mobilenet_v2", "timm:convnext_atto", "timm:pvt_v2_b0"],
)
def test_every_family_answers_for_each_anchor(backbone, version):
    network = _build(bands=4, classes=3, backbone=backbone, ssd_version=version, zooms=[1.0, 0.5])
    assert network(torch.randn(2, 4, 64, 64)).shape == (2, (16 + 4) * 2, 4 + 3)


@torch.inference_mode()
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 70), (10, 64), (128, 32)])
def test_there_is_an_answer_for_each_anchor_of_images_of_any_size(height, width, version):
    network = _build(ssd_version=version)
    anchors = network.anchors.over(*network.size_over(height, width))
    assert network(torch.randn(1, 3, height, width)).shape == (1, len(anchors), 6)


@torch.inference_mode()
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("row", "col"), [(0, 3), (3, 1), (2, 2)])
def test_answers_are_in_the_order_of_the_anchors(version, row, col):
    network = averaging(_build(ssd_version=version, grids=[4, 4], zooms=[1.0, 2.0], tile=128))
    images = torch.zeros(1, 3, 128, 128)
    images[..., row * 32 : row * 32 + 32, col * 32 : col * 32 + 32] = 1.0
    brightness, anchors = network(images)[0].sum(dim=1), network.anchors.over(128, 128)
    for mine in (slice(0, 32), slice(32, 64)):  # the anchors of either grid
        brightest = anchors[mine][int(brightness[mine].argmax())]
        assert brightest[:2].tolist() == [col * 32 + 16, row * 32 + 16]


def test_each_grid_of_version_2_reads_the_map_whose_cells_are_as_large():
    heads = _build(tile=256, grids=[64, 32, 9, 4, 1]).heads
    assert heads.levels == [2, 3, 4, 5, 5]
    assert heads.finest == 2
    assert _build(tile=256, grids=[256]).heads.levels == [2]
    assert _build(tile=256, grids=[8, 1], encoder_depth=3).heads.levels == [3, 3]


@torch.inference_mode()
def test_the_bias_is_the_first_class_score_of_all_anchors():
    answers = _build(bias=-2.5)(torch.zeros(1, 3, 64, 64))
    assert answers[..., 4:].mean() == pytest.approx(-2.5, abs=0.3)
    assert answers[..., :4].mean() == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grids": []}, "leaves no anchors"),
        ({"grids": [0]}, "integers from 1 to 256"),
        ({"grids": 4}, "use a list of integers"),
        ({"zooms": [0.0]}, "numbers above 0"),
        ({"zooms": []}, "numbers above 0"),
        ({"ratios": [1.0, 0.5]}, "list of pairs"),
        ({"ratios": [[1.0, -1.0]]}, "list of pairs"),
        ({"ratios": "11"}, "list of pairs"),
        ({"drop": 1.0}, "from 0 and below 1"),
        ({"drop": True}, "from 0 and below 1"),
        ({"bias": float("nan")}, "from -100 to 100"),
        ({"bias": "low"}, "from -100 to 100"),
        ({"focal_loss": 1}, "use True or False"),
        ({"location_loss_factor": 1.0}, "above 0 and below 1, or None"),
        ({"location_loss_factor": 0}, "above 0 and below 1, or None"),
        ({"ssd_version": 3}, "use 1 or 2"),
        ({"ssd_version": True}, "use 1 or 2"),
        ({"ssd_version": 1, "grids": [2, 4]}, "from fine to coarse"),
        ({"head_channels": 0}, "integers from 1 to 4096"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        SsdSettings(**{**TINY, **settings})


@pytest.mark.parametrize(
    ("backbone", "message"), [("resnet43", "Did you mean"), ("timm:vit_tiny_patch16_224", "224 pixels only")]
)
def test_a_backbone_that_cannot_be_used_is_refused(backbone, message):
    with pytest.raises(SettingError, match=message):
        _build(backbone=backbone)
