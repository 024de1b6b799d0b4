import inspect
import math

import pytest
import torch
from torchvision.ops import box_iou, complete_box_iou_loss

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.yolo_boxes import ALIKE, responsible
from rasterloom.models.objects.yolo import YOLOv3

TINY = {"backbone": "timm:test_resnet", "pretrained": False, "head_channels": [8, 16, 16]}
TRUTH = [
    {
        "boxes": torch.tensor([[4.0, 4.0, 20.0, 18.0], [30.0, 30.0, 60.0, 60.0]]),
        "labels": torch.tensor([3, 1]),
    },
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
]


@pytest.fixture
def data(make_data):
    return make_data(task=Task.OBJECTS, object_sizes=[[s, s + 2] for s in range(10, 30)])


def _images(count=2, bands=3, side=64):
    return torch.randn(count, bands, side, side, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("method", "defaults"),
    [
        ("__init__", {"data": None, "pretrained_path": None}),
        ("average_precision_score", {"detect_thresh": 0.1, "iou_thresh": 0.1, "mean": False}),
        ("show_results", {"rows": 5, "thresh": 0.1, "nms_overlap": 0.1}),
        ("predict", {"threshold": 0.1, "nms_overlap": 0.1, "return_scores": True, "batch_size": 1}),
        ("predict_video", {"threshold": 0.1}),
        ("detect", {"threshold": 0.1, "nms_overlap": 0.1}),
    ],
)
def test_methods_have_the_defaults_of_this_class(method, defaults):
    parameters = inspect.signature(getattr(YOLOv3, method)).parameters
    assert {name: parameters[name].default for name in defaults} == defaults


def test_anchors_are_like_the_boxes_of_the_data_and_stand_in_the_description(data):
    model = YOLOv3(data, **TINY)
    anchors = model.spec.parameters["anchors"]
    assert len(anchors) == 9
    assert all(width + 2 == pytest.approx(height, abs=0.5) for width, height in anchors[:3])
    assert YOLOv3.from_spec(model.spec).spec == model.spec
    assert model.package_facts(compute_metrics=False)["Anchors"] == anchors
    own = [[side, side] for side in range(5, 14)]
    assert YOLOv3(data, anchors=own, **TINY).spec.parameters["anchors"] == own


def test_data_without_objects_gets_the_anchors_of_the_paper(make_data):
    anchors = YOLOv3(make_data(task=Task.OBJECTS), **TINY).spec.parameters["anchors"]
    assert anchors[0] == [10, 13]
    assert anchors[-1] == [373, 326]


def test_a_model_that_starts_from_a_saved_one_takes_its_anchors(data, make_data, tmp_path):
    first = YOLOv3(data, **TINY)
    path = first.save(tmp_path / "first", compute_metrics=False, save_inference_file=False)
    other = make_data(task=Task.OBJECTS, object_sizes=[[40.0, 40.0]])
    assert YOLOv3(other, path, **TINY).spec.parameters["anchors"] == first.spec.parameters["anchors"]
    alone = YOLOv3(pretrained_path=path)
    assert alone.spec == first.spec
    assert alone.data is None
    alone.network.eval()
    first.network.eval()
    with torch.inference_mode():
        assert torch.equal(alone.network(_images()), first.network(_images()))
    with pytest.raises(SettingError, match="as it is, not backbone"):
        YOLOv3(pretrained_path=path, backbone="resnet18")


def test_the_loss_is_that_of_a_loop_over_anchors(data):
    model = YOLOv3(data, **TINY)
    model.network.eval()
    images = _images()
    with torch.no_grad():
        found = float(model.batch_loss(images, TRUTH))
        answers = model.network(images)
    anchors = model.network.anchors(64, 64)
    total, count = 0.0, 0
    for chip, truth in zip(answers, TRUTH, strict=True):
        places, boxes = responsible(model.network.shapes, truth["boxes"], 64, 64)
        own = dict(zip(places.tolist(), boxes.tolist(), strict=True))
        count += len(own)
        decoded = anchors.decoded(chip[:, :4])
        for place, answer in enumerate(chip.tolist()):
            near = box_iou(anchors.boxes[place : place + 1], truth["boxes"])
            if place in own:
                box = own[place]
                total += math.log1p(math.exp(-answer[4]))
                total += float(complete_box_iou_loss(decoded[place], truth["boxes"][box]))
                for label, logit in enumerate(answer[5:], start=1):
                    true = int(truth["labels"][box]) == label
                    total += math.log1p(math.exp(-logit if true else logit))
            elif not (near > ALIKE).any():
                total += math.log1p(math.exp(answer[4]))
    assert count > 2
    assert found == pytest.approx(total / count, rel=1e-4)


def test_scores_are_the_probability_of_an_object_times_that_of_its_class(data):
    model = YOLOv3(data, **TINY)
    model.network.eval()
    with torch.no_grad():
        answers = model.network(_images(1))[0]
    likely = answers[:, 4:5].sigmoid() * answers[:, 5:].sigmoid()
    (found,) = model.detect(_images(1), threshold=0.0, nms_overlap=1.0)
    assert float(found["scores"][0]) == pytest.approx(float(likely.max()))
    assert int(found["labels"][0]) == int(likely.max(dim=0).values.argmax()) + 1


@pytest.mark.parametrize(("side", "message"), [(100, "chip_size=96 or 128"), (20, "chip_size=32")])
def test_chips_of_other_sides_are_refused_with_the_nearest_that_work(make_data, side, message):
    with pytest.raises(SettingError, match=message):
        YOLOv3(make_data(task=Task.OBJECTS, tile_size=side), **TINY)


def test_sides_are_multiples_of_32(data):
    model = YOLOv3(data, **TINY)
    assert model.tile_multiple == 32
    model.network.eval()
    assert len(model.detect(_images(1, side=96), threshold=0.0)) == 1


def test_the_usual_backbone_is_darknet(data):
    assert YOLOv3.complete_parameters({})["backbone"] == "timm:darknet53"
    model = YOLOv3(data, **TINY)
    assert model.supported_backbones[0] == "timm:darknet53"
    assert "resnet34" in model.supported_backbones


def test_what_it_does_not_take_is_refused(data):
    with pytest.raises(SettingError, match="does not take grids: it takes anchors"):
        YOLOv3(data, grids=[4], **TINY)
    with pytest.raises(SettingError, match="YOLOv3 needs data"):
        YOLOv3()
