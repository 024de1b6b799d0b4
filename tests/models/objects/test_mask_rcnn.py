import pytest
import torch

from rasterloom.models.catalog import find_adapter
from rasterloom.models.errors import SettingError
from rasterloom.models.objects.mask_rcnn import MaskRCNN
from tests.support.adapters import adapter_model, learnable

ROW = find_adapter("MaskRCNN")


def test_settings_beyond_the_fourth_are_named(make_data):
    with pytest.raises(SettingError, match="takes four arguments by position and got 5"):
        MaskRCNN(make_data(), "resnet18", None, False, 7)


def test_outlines_come_with_the_boxes_and_change_with_their_threshold():
    model = adapter_model(ROW)
    model.network.eval()
    images, _ = learnable(ROW)
    few = model.detect(images, threshold=0.0, mask_threshold=0.6)
    many = model.detect(images, threshold=0.0, mask_threshold=0.4)
    assert sum(int(chip["masks"].sum()) for chip in few) < sum(int(chip["masks"].sum()) for chip in many)
    for chip in many:
        assert chip["masks"].dtype == torch.bool
        assert chip["masks"].shape == (len(chip["labels"]), 64, 64)


def test_chips_without_outlines_are_no_food_for_outlines():
    model = adapter_model(ROW)
    images, targets = learnable(ROW)
    boxes_only = [{name: v for name, v in chip.items() if name != "masks"} for chip in targets]
    with pytest.raises(SettingError, match="boxes alone: export them as RCNN_Masks, or use FasterRCNN"):
        model.training_loss((images, boxes_only))


def test_the_package_of_a_mask_rcnn_says_what_other_software_looks_for():
    facts = adapter_model(ROW, box_nms_thresh=0.4).package_facts(compute_metrics=True)
    assert facts["MaskRCNNkwargs"]["box_nms_thresh"] == 0.4
    assert "pointrend" not in facts["MaskRCNNkwargs"]


def test_a_picture_mode_that_is_not_known_is_refused():
    with pytest.raises(SettingError, match="mode='circle' is not known: use one of bbox, mask, bbox_mask"):
        adapter_model(ROW).show_results(mode="circle")
