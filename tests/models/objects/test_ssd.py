import inspect
import math

import pytest
import torch
from torchvision.ops import box_convert

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.ssd_boxes import owners
from rasterloom.models.objects.ssd import SingleShotDetector

TINY = {"backbone": "timm:test_resnet", "pretrained": False, "head_channels": 16, "encoder_depth": 3}
BOXES = [[14.0, 15.0], [15.0, 14.0], [14.5, 14.5]]
TRUTH = [
    {"boxes": torch.tensor([[4.0, 4.0, 20.0, 18.0]]), "labels": torch.tensor([3])},
    {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
]


@pytest.fixture
def data(make_data):
    return make_data(task=Task.OBJECTS, object_sizes=BOXES)


def _images(count=2, bands=3, side=64):
    return torch.randn(count, bands, side, side, generator=torch.Generator().manual_seed(5))


def test_the_constructor_has_the_documented_arguments():
    parameters = inspect.signature(SingleShotDetector).parameters
    plain = {p.name: p.default for p in parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD}
    del plain["data"]
    assert plain == {
        "grids": None,
        "zooms": (1.0,),
        "ratios": ((1.0, 1.0),),
        "backbone": None,
        "drop": 0.3,
        "bias": -4.0,
        "focal_loss": False,
        "pretrained_path": None,
        "location_loss_factor": None,
        "ssd_version": 2,
        "backend": "pytorch",
    }
    scores = inspect.signature(SingleShotDetector.average_precision_score).parameters
    assert [scores[n].default for n in ("detect_thresh", "iou_thresh", "mean", "show_progress")] == [
        0.2,
        0.1,
        False,
        True,
    ]


def test_anchors_fit_the_boxes_of_the_data_and_stand_in_the_description(data):
    model = SingleShotDetector(data, **TINY)
    # boxes of 14.5 pixels: cells of a third to a quarter, 64 / 15 = 4.3 pixels
    assert model.spec.parameters["grids"] == [15]
    assert model.spec.parameters["zooms"] == [3.0, 4.0]
    assert SingleShotDetector.from_spec(model.spec).spec == model.spec
    plain = SingleShotDetector(data, zooms=[0.7, 1.0], **TINY)
    assert (plain.spec.parameters["grids"], plain.spec.parameters["zooms"]) == ([4], [0.7, 1.0])
    bounded = SingleShotDetector(data, ssd_version=1, **TINY)
    assert (bounded.spec.parameters["grids"], bounded.spec.parameters["zooms"]) == ([4], [1.0])
    assert SingleShotDetector(data, [8, 2], **TINY).spec.parameters["grids"] == [8, 2]


def test_data_without_objects_gets_the_grids_of_the_lesson(make_data):
    model = SingleShotDetector(make_data(task=Task.OBJECTS), **TINY)
    assert model.spec.parameters["grids"] == [4, 2, 1]


def test_a_model_that_starts_from_a_saved_one_takes_its_anchors(data, make_data, tmp_path):
    first = SingleShotDetector(data, ratios=[[1.0, 0.5]], **TINY)
    path = first.save(tmp_path / "first", compute_metrics=False, save_inference_file=False)
    other = make_data(task=Task.OBJECTS, object_sizes=[[40.0, 40.0]])
    second = SingleShotDetector(other, pretrained_path=path, **TINY)
    for name in ("grids", "zooms", "ratios"):
        assert second.spec.parameters[name] == first.spec.parameters[name]
    state = second.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.network.state_dict().items())


def test_the_loss_is_that_of_a_loop_over_anchors(data):
    model = SingleShotDetector(data, **TINY)
    model.network.eval()
    images = _images()
    with torch.no_grad():
        found = float(model.batch_loss(images, TRUTH))
        answers = model.network(images)
    anchors = model.network.anchors.over(64, 64)
    classes, places, count = 0.0, 0.0, 0
    for chip, truth in zip(answers, TRUTH, strict=True):
        owner = owners(anchors, truth["boxes"]).tolist()
        for answer, anchor, box in zip(chip.tolist(), anchors.tolist(), owner, strict=True):
            for label, logit in enumerate(answer[4:], start=1):
                true = box >= 0 and int(truth["labels"][box]) == label
                classes += math.log1p(math.exp(-logit if true else logit))
            if box >= 0:
                count += 1
                cx, cy, w, h = box_convert(truth["boxes"][box], "xyxy", "cxcywh").tolist()
                wanted = (
                    (cx - anchor[0]) / anchor[2],
                    (cy - anchor[1]) / anchor[3],
                    math.log(w / anchor[2]),
                    math.log(h / anchor[3]),
                )
                places += sum(abs(a - b) for a, b in zip(answer[:4], wanted, strict=True))
    assert count > 1
    assert found == pytest.approx(classes / count + places / (4 * count), rel=1e-4)


@pytest.mark.parametrize("factor", [0.25, 0.9])
def test_the_location_factor_shares_the_loss_between_its_parts(data, factor):
    def loss(**settings):
        torch.manual_seed(0)
        model = SingleShotDetector(data, drop=0.0, **settings, **TINY)
        return model.batch_loss(_images(), TRUTH).item()

    plain, almost_classes = loss(), loss(location_loss_factor=1e-9)
    expected = (1 - factor) * almost_classes + factor * (plain - almost_classes)
    assert loss(location_loss_factor=factor) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("side", [32, 50, 96])
def test_images_of_any_size_have_their_objects_inside(data, side):
    model = SingleShotDetector(data, **TINY)
    model.network.eval()
    assert model.tile_multiple == 1
    for chip in model.detect(_images(side=side), threshold=0.0, nms_overlap=0.5):
        assert len(chip["boxes"])
        assert chip["boxes"].min() >= 0
        assert chip["boxes"].max() <= side


def test_a_package_names_the_anchors_as_other_software_does(data):
    facts = SingleShotDetector(data, [4, 2], [1.0], [[1.0, 0.5]], **TINY).package_facts(compute_metrics=False)
    assert facts["Grids"] == [4, 2]
    assert facts["Zooms"] == [1.0]
    assert facts["Ratios"] == [[1.0, 0.5]]
    assert facts["SSDVersion"] == 2
    assert facts["backbone"] == "timm:test_resnet"


@pytest.mark.parametrize("name", SingleShotDetector.transformer_backbones())
def test_transformer_backbones_work(data, name):
    model = SingleShotDetector(data, backbone=name, pretrained=False, head_channels=16)
    model.network.eval()
    assert len(model.detect(_images(1), threshold=0.0)) == 1


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"anchors": [1]}, "does not take anchors: it takes .*zooms"),
        ((), {"backend": "tensorflow"}, "use 'pytorch'"),
        ((None, (1.0,), ((1.0, 1.0),), None, 0.3, -4.0, False, None, None, 2, "pytorch", 1), {}, "got 13"),
        ((), {"ssd_version": 3}, "use 1 or 2"),
    ],
)
def test_what_it_does_not_take_is_refused(data, args, kwargs, message):
    with pytest.raises(SettingError, match=message):
        SingleShotDetector(data, *args, **{**({} if args else TINY), **kwargs})


def test_it_needs_data():
    with pytest.raises(SettingError, match="SingleShotDetector needs data"):
        SingleShotDetector(None)
