import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.detection_regions import MaskSettings, RegionSettings, build_regions
from rasterloom.models.networks.fpn import PyramidSettings

PYRAMID = PyramidSettings(backbone="timm:test_resnet", encoder_depth=3, pretrained=False, pyramid_channels=16)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rpn_nms_thresh": 1.5}, "rpn_nms_thresh=1.5.*from 0 to 1"),
        ({"box_detections_per_img": 0}, "box_detections_per_img"),
        ({"rpn_post_nms_top_n_test": 2.5}, "rpn_post_nms_top_n_test"),
        ({"rpn_bg_iou_thresh": 0.8}, "rpn_bg_iou_thresh=0.8 is above rpn_fg_iou_thresh=0.7.*Use 0.7 or less"),
        ({"anchor_sizes": [0]}, "anchor_sizes"),
        ({"anchor_ratios": []}, "anchor_ratios"),
        ({"head_channels": 0}, "head_channels"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_what_would(given, told):
    with pytest.raises(SettingError, match=told):
        RegionSettings(**given)


def test_the_settings_are_those_of_torchvision():
    from inspect import signature

    from torchvision.models.detection.faster_rcnn import FasterRCNN

    theirs = {name: p.default for name, p in signature(FasterRCNN.__init__).parameters.items()}
    ours = {name: v for name, v in vars(RegionSettings()).items() if name.startswith(("rpn_", "box_"))}
    assert len(ours) == 16
    assert ours == {name: theirs[name] for name in ours}


def test_sizes_of_anchors_must_fit_the_pyramid():
    with pytest.raises(SettingError, match="give one size for each map"):
        build_regions(
            bands=3,
            classes=1,
            pyramid=PYRAMID,
            regions=RegionSettings(anchor_sizes=(8.0, 16.0)),
            pretrained=False,
        )


@pytest.mark.parametrize(
    "masks", [None, MaskSettings(mask_channels=8), MaskSettings(pointrend=True, mask_channels=8)]
)
def test_images_of_any_allowed_size_are_looked_at_as_they_are(masks):
    regions = RegionSettings(head_channels=32, rpn_post_nms_top_n_test=20)
    network = build_regions(
        bands=2, classes=2, pyramid=PYRAMID, regions=regions, masks=masks, pretrained=False
    ).eval()
    with torch.no_grad():
        for size in ((32, 64), (72, 40)):
            found = network(torch.randn(2, 2, *size))
            for chip in found:
                assert (chip["boxes"] <= torch.tensor([size[1], size[0]] * 2)).all()
                assert ("masks" in chip) == (masks is not None)
