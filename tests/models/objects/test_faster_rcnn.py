"""What the detectors from the parts of torchvision share."""

import inspect

import pytest

from rasterloom.models.contract import Task
from rasterloom.models.objects.faster_rcnn import FasterRCNN
from rasterloom.models.objects.mask_rcnn import MaskRCNN
from rasterloom.models.objects.retina_net import RetinaNet
from tests.support.adapters import PARAMETERS

CLASSES = (FasterRCNN, RetinaNet, MaskRCNN)


@pytest.mark.parametrize(
    ("kind", "wanted"), [(FasterRCNN, (0.2, 0.1)), (RetinaNet, (0.5, 0.1)), (MaskRCNN, (0.5, 0.5))]
)
def test_average_precision_has_the_defaults_of_the_class(kind, wanted):
    parameters = inspect.signature(kind.average_precision_score).parameters
    assert (parameters["detect_thresh"].default, parameters["iou_thresh"].default) == wanted
    assert parameters["mean"].default is False
    assert parameters["show_progress"].default is True


@pytest.mark.parametrize("kind", CLASSES)
def test_a_model_is_built_from_data_and_learns_all_unless_it_was_trained(kind, make_data):
    settings = {name: v for name, v in PARAMETERS[kind.__name__].items() if name != "backbone"}
    model = kind(make_data(task=Task.OBJECTS), backbone="timm:test_resnet", **settings)
    assert model.spec.parameters["backbone"] == "timm:test_resnet"
    assert all(p.requires_grad for p in model.network.parameters())
    assert model.available_metrics == ["valid_loss", "average_precision"]
    assert "resnet50" in kind.backbones() == model.supported_backbones


def test_nothing_said_is_resnet50():
    for kind in CLASSES:
        assert kind.complete_parameters({})["backbone"] == "resnet50"
