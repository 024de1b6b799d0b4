"""What models for edges share."""

import inspect

import pytest
import torch
from torch import nn

from rasterloom.models import BDCNEdgeDetector, HEDEdgeDetector
from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.models.losses.edges import balanced_edge_loss
from tests.support.models import CLASSES

EDGE = (ClassInfo(4, "Border", (250, 220, 20)),)
SHAPE = {"backbone": "timm:test_resnet", "encoder_depth": 2, "pretrained": False}

pytestmark = [
    pytest.mark.parametrize("kind", [HEDEdgeDetector, BDCNEdgeDetector]),
    pytest.mark.usefixtures("one_thread"),
]


def test_it_is_built_from_data_with_one_class(kind, make_data):
    model = kind(make_data(classes=EDGE, bands=4), "timm:test_resnet", pretrained=False)
    assert model.spec.output_values == (0, 4)
    assert model.spec.parameters["backbone"] == "timm:test_resnet"
    assert model.network.eval()(torch.zeros(1, 4, 32, 32)).shape == (1, 2, 32, 32)


def test_the_usual_backbone_is_vgg19(kind):
    assert inspect.signature(kind).parameters["backbone"].default == "vgg19"
    assert kind.complete_parameters({})["backbone"] == "vgg19"  # what None stands for


@pytest.mark.parametrize("classes", [CLASSES, (), (ClassInfo(0, "rest", (0, 0, 0)), *CLASSES[:2])])
def test_other_than_one_class_is_refused_with_what_would_work(kind, classes, make_data):
    with pytest.raises(SettingError, match=r"edges of one kind, and the data has the classes .*: use chips"):
        kind(make_data(classes=classes), **SHAPE)


def test_a_background_with_a_name_is_no_edge(kind, make_data):
    classes = (ClassInfo(0, "rest", (0, 0, 0)), EDGE[0])
    model = kind(make_data(classes=classes), **SHAPE)
    assert model.unscored_values == (0,)


def test_the_training_loss_is_that_of_all_parts_and_the_judged_one_of_the_fused_score(kind, make_data):
    model = kind(make_data(classes=EDGE), **SHAPE)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    target = (images[:, 0] > 1).long()
    parts = model.network.train()(images)
    expected = sum(
        part.weight * balanced_edge_loss(part.logits[:, 0], target, other_weight=kind.other_weight)
        for part in parts
    )
    torch.testing.assert_close(model.training_loss((images, target)), expected)
    with torch.no_grad():
        loss, found = (model.network.eval(), model.judged((images, target)))[1]
        logits = model.network(images)
        score = logits[:, 1]
    torch.testing.assert_close(loss, balanced_edge_loss(score, target, other_weight=kind.other_weight))
    assert torch.equal(found, (score > 0).long())
    torch.testing.assert_close(model.probabilities(logits)[:, 1], score.sigmoid())


def test_probabilities_and_scores_agree_on_what_is_likelier(kind, make_data):
    model = kind(make_data(classes=EDGE), **SHAPE)
    logits = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.scores(logits).argmax(1), model.probabilities(logits).argmax(1))


def test_backbones_are_convolutional_ones_and_transformers_of_any_image_size(kind, make_data):
    assert kind.backbones() == backbone_names()
    assert {"vgg19", "resnet50"} <= set(kind.backbones())
    model = kind(make_data(classes=EDGE), **SHAPE)
    assert model.supported_backbones == kind.backbones() + kind.transformer_backbones()
    assert model.supported_datasets == ["Classified_Tiles"]


def test_the_early_layers_are_the_backbone(kind, make_data):
    model = kind(make_data(classes=EDGE), **SHAPE)
    assert isinstance(model.early_layers(), nn.Module)
    assert model.early_layers() is model.network.encoder
    assert model.tile_multiple == 4


def test_settings_that_belong_to_no_network_for_edges_are_refused(kind, make_data):
    with pytest.raises(SettingError, match=f"{kind.__name__} does not take class_balancing"):
        kind(make_data(classes=EDGE), **SHAPE, class_balancing=True)
