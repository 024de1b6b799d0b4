"""Every setting of every model class changes what it should, and nothing else."""

import dataclasses

import pytest
import torch

from rasterloom.models.build import build
from rasterloom.models.catalog import find_adapter
from tests.support.adapters import (
    TRAINABLE,
    adapter_model,
    adapter_spec,
    answers,
    classifiers,
    learnable,
    noise,
    same_answers,
    seeded_loss,
)

pytestmark = pytest.mark.usefixtures("one_thread")

_PIXELS = {
    "class_weights": {"class_weights": {1: 5.0}},
    "mixup": {"mixup": True},
    "focal_loss": {"focal_loss": True},
    "dice_loss_fraction": {"dice_loss_fraction": 0.5},
    "dice_loss_average": {"dice_loss_fraction": 0.5, "dice_loss_average": "macro"},
    "ignore_classes": {"ignore_classes": [2]},
}
_HOURGLASS = ("hourglass_stacks", "hourglass_depth", "hourglass_channels")
_ROADS = {
    **_PIXELS,
    "gaussian_thresh": {"gaussian_thresh": 0.4},
    "orient_theta": {"orient_theta": 1},
}
_REGIONS = {
    "rpn_pre_nms_top_n_train": {"rpn_pre_nms_top_n_train": 20},
    "rpn_post_nms_top_n_train": {"rpn_post_nms_top_n_train": 10},
    "rpn_fg_iou_thresh": {"rpn_fg_iou_thresh": 0.35},
    "rpn_bg_iou_thresh": {"rpn_bg_iou_thresh": 0.1},
    "rpn_batch_size_per_image": {"rpn_batch_size_per_image": 16},
    "rpn_positive_fraction": {"rpn_positive_fraction": 0.01},
    "box_fg_iou_thresh": {"box_fg_iou_thresh": 0.99},
    "box_bg_iou_thresh": {"box_bg_iou_thresh": 0.05},
    "box_batch_size_per_image": {"box_batch_size_per_image": 16},
    "box_positive_fraction": {"box_positive_fraction": 0.01},
}
LOSS = {
    **{row.name: _PIXELS for row in classifiers()},
    "MultiTaskRoadExtractor": _ROADS,
    "ConnectNet": _ROADS,
    "FasterRCNN": _REGIONS,
    "MaskRCNN": _REGIONS,
    "FeatureClassifier": {"mixup": {"mixup": True}},
    "SingleShotDetector": {
        "drop": {"drop": 0.6},
        "focal_loss": {"focal_loss": True},
        "location_loss_factor": {"location_loss_factor": 0.7},
    },
}
"""What each setting of the loss is set to, by model class; all else stays."""
BEFORE = {
    "dice_loss_average": {"dice_loss_fraction": 0.5},
    # proposals are so alike at first that suppression leaves few of them
    "rpn_post_nms_top_n_train": {"rpn_nms_thresh": 0.99},
    "rpn_pre_nms_top_n_train": {"rpn_nms_thresh": 0.99},
}
"""What a setting has an effect beside."""

_ROAD_SHAPE = {
    "backbone": {"backbone": "resnet18"},
    "encoder_depth": {"encoder_depth": 4},
    "mtl_model": {"mtl_model": "hourglass"},
    "orient_bin_size": {"orient_bin_size": 30},
}
_REGION_SHAPE = {
    "backbone": {"backbone": "resnet18"},
    "encoder_depth": {"encoder_depth": 4},
    "pyramid_channels": {"pyramid_channels": 16},
    "head_channels": {"head_channels": 32},
    "anchor_ratios": {"anchor_ratios": [1.0]},
}
SHAPE = {
    "UnetClassifier": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4, "decoder_channels": None},
        "decoder_channels": {"decoder_channels": [24, 16, 8]},
    },
    "PSPNetClassifier": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4, "decoder_channels": None},
        "decoder_channels": {"decoder_channels": [24, 16, 8]},
        "use_unet": {"use_unet": False, "decoder_channels": None},
        "pyramid_sizes": {"pyramid_sizes": [1, 2]},
        "unet_aux_loss": {"unet_aux_loss": True},
        "pointrend": {"pointrend": True},
    },
    "DeepLab": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4},
        "decoder_channels": {"decoder_channels": 24},
        "pointrend": {"pointrend": True},
    },
    "HEDEdgeDetector": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4},
    },
    "BDCNEdgeDetector": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4},
        "scale_channels": {"scale_channels": 16},
    },
    "MultiTaskRoadExtractor": _ROAD_SHAPE,
    "ConnectNet": _ROAD_SHAPE,
    "FasterRCNN": _REGION_SHAPE,
    "RetinaNet": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4},
        "pyramid_channels": {"pyramid_channels": 16},
        "finest_stride": {"finest_stride": 8},
        "scales": {"scales": [1.0]},
        "ratios": {"ratios": [1.0, 3.0]},
    },
    "MaskRCNN": {
        **_REGION_SHAPE,
        "mask_channels": {"mask_channels": 16},
        "pointrend": {"pointrend": True},
    },
    "SingleShotDetector": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4},
        "head_channels": {"head_channels": 16},
        "grids": {"grids": [16]},
        "zooms": {"zooms": [2.0]},
        "ratios": {"ratios": [[1.0, 1.0], [1.0, 0.5]]},
        "ssd_version": {"ssd_version": 1},
    },
    "ChangeDetector": {
        "backbone": {"backbone": "resnet18"},
        "encoder_depth": {"encoder_depth": 4},
        "attention_type": {"attention_type": "BAM"},
        "finest_stride": {"finest_stride": 2},
        "decoder_channels": {"decoder_channels": [16, 32, 24]},
    },
    "FeatureClassifier": {"backbone": {"backbone": "resnet18"}},
    "YOLOv3": {
        "backbone": {"backbone": "resnet18"},
        "head_channels": {"head_channels": [16, 16, 32]},
    },
}
"""Settings that give the network other weights, by model class."""

_REGIONS_FOUND = {
    "anchor_sizes": {"anchor_sizes": [8.0, 12.0, 20.0]},
    "rpn_pre_nms_top_n_test": {"rpn_pre_nms_top_n_test": 10},
    "rpn_post_nms_top_n_test": {"rpn_post_nms_top_n_test": 10},
    "rpn_nms_thresh": {"rpn_nms_thresh": 0.1},
    "box_score_thresh": {"box_score_thresh": 0.3},
    "box_nms_thresh": {"box_nms_thresh": 0.05},
    "box_detections_per_img": {"box_detections_per_img": 3},
}
FOUND = {
    "FasterRCNN": _REGIONS_FOUND,
    "RetinaNet": {
        "anchor_sizes": {"anchor_sizes": [8.0, 12.0, 20.0, 40.0]},
    },
    "MaskRCNN": _REGIONS_FOUND,
    "YOLOv3": {"anchors": {"anchors": [[side, side] for side in range(8, 26, 2)]}},
}
"""Settings under which the same weights find other objects, by model class."""

_CHIPS = ("oversample", "multilabel", "metadata_mode", "crop_size_fixed", "blacken_around_feature")
ELSEWHERE = {"class_balancing", "pretrained", "keep_dilation", "bias", *_HOURGLASS, *_CHIPS}
"""Settings that have a test of their own below or beside the adapter."""
FIXED = {"YOLOv3": {"encoder_depth"}}
"""Settings of which one value alone works, by model class."""


def _cases(table):
    return [(name, setting) for name, settings in table.items() for setting in settings]


def _shapes(model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.network.state_dict().items()}


def _same_weights(first, second) -> bool:
    return all(map(torch.equal, first.network.state_dict().values(), second.network.state_dict().values()))


def _gradients(model, batch) -> list[torch.Tensor]:
    seeded_loss(model, batch).backward()
    return [p.grad for p in model.network.parameters()]


@pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name)
def test_every_setting_is_tested(row):
    settings = set(row.load().complete_parameters({}))
    tables = (table.get(row.name, {}) for table in (LOSS, SHAPE, FOUND))
    assert settings <= {*ELSEWHERE, *FIXED.get(row.name, ())}.union(*tables)


@pytest.mark.parametrize(("name", "setting"), _cases(LOSS))
def test_a_setting_of_the_loss_changes_loss_and_gradient_of_the_same_network(name, setting):
    row = find_adapter(name)
    before, batch = BEFORE.get(setting, {}), learnable(row)
    plain, changed = adapter_model(row, **before), adapter_model(row, **(before | LOSS[name][setting]))
    assert _same_weights(plain, changed)
    assert not torch.isclose(seeded_loss(plain, batch), seeded_loss(changed, batch), rtol=1e-4)
    assert not all(map(torch.equal, _gradients(plain, batch), _gradients(changed, batch)))


@pytest.mark.parametrize(("name", "setting"), _cases(SHAPE))
def test_a_setting_of_the_network_changes_its_weights(name, setting):
    row = find_adapter(name)
    assert _shapes(adapter_model(row)) != _shapes(adapter_model(row, **SHAPE[name][setting]))


@pytest.mark.parametrize(("name", "setting"), _cases(FOUND))
def test_a_setting_of_finding_changes_what_the_same_network_finds(name, setting):
    row = find_adapter(name)
    plain, changed = adapter_model(row), adapter_model(row, **FOUND[name][setting])
    assert _same_weights(plain, changed)
    pictures = noise(row, 2)
    assert not same_answers(answers(plain, pictures), answers(changed, pictures))


@pytest.mark.parametrize("name", ["PSPNetClassifier", "DeepLab"])
def test_kept_dilation_gives_the_same_weights_finer_maps(name):
    row = find_adapter(name)
    settings = {"pointrend": True, "encoder_depth": 4, "decoder_channels": None}
    if name == "DeepLab":
        settings["decoder_channels"] = 32
    plain = adapter_model(row, **settings)
    kept = adapter_model(row, **settings, keep_dilation=True)
    assert _shapes(plain) == _shapes(kept)
    assert (plain.tile_multiple, kept.tile_multiple) == (16, 8)
    sides = [m.network.encoder(torch.zeros(1, 3, 64, 64))[-1].shape[-1] for m in (plain, kept)]
    assert sides == [4, 8]


@pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name)
def test_a_pretrained_model_is_described_so_and_built_without_fetching(row):
    spec = adapter_spec(row, pretrained=True)
    assert build(spec).spec.parameters["pretrained"] is True
    spec = dataclasses.replace(spec, parameters={**spec.parameters, "pretrained": False})
    assert build(spec).spec.parameters["pretrained"] is False
