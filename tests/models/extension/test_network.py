"""The network of a user's class between its methods: what it gets, and what it may return."""

import dataclasses

import pytest
import torch
from torch import nn

from rasterloom.models.contract import ClassInfo, Task
from rasterloom.models.errors import SettingError
from rasterloom.models.extension.configuration import Configuration
from rasterloom.models.extension.network import DataFacts, HookedNetwork
from tests.support.model_classes import TinySegmenter
from tests.support.models import pixel_spec

SPEC = pixel_spec(bands=3, tile_size=32, model="ModelExtension")
IMAGES = torch.randn(2, 3, 8, 8)
TARGETS = torch.zeros(2, 8, 8, dtype=torch.int64)
BOX = {"boxes": torch.ones(1, 4), "labels": torch.ones(1, dtype=torch.int64), "scores": torch.ones(1)}


def network_with(task=Task.PIXELS, **methods):
    hooks = type("Mine", (TinySegmenter,), {name: staticmethod(method) for name, method in methods.items()})()
    configuration = Configuration(hooks, "Mine", "")
    return HookedNetwork.built(configuration, dataclasses.replace(SPEC, task=task), None, {})


def test_outputs_are_named_in_their_order_with_background_first():
    facts = DataFacts.of(SPEC)
    assert (facts.c, facts.classes) == (4, ("background", "Field", "Water", "Road"))
    assert facts.class_mapping == {1: "Field", 2: "Water", 7: "Road"}
    zero = (ClassInfo(0, "Ground", (0, 0, 0)), *SPEC.classes)
    of_pixels = DataFacts.of(dataclasses.replace(SPEC, classes=zero))
    of_objects = DataFacts.of(dataclasses.replace(SPEC, classes=zero, task=Task.OBJECTS))
    assert of_pixels.classes == ("Ground", "Field", "Water", "Road")
    assert of_objects.classes == ("background", "Ground", "Field", "Water", "Road")


def test_inputs_and_targets_that_are_lists_are_handed_over_one_by_one():
    class Sum(nn.Module):
        def forward(self, one, two):
            return one + two

    network = network_with(
        get_model=lambda data, backbone, **kwargs: Sum(),
        on_batch_begin=lambda learn, xb, yb: ([xb, 2 * xb], (yb, 5.0)),
        loss=lambda output, target, number: output.sum() * number + target.sum(),
    )
    told = network.loss(IMAGES, TARGETS, train=True)
    torch.testing.assert_close(told, 15 * IMAGES.sum(), rtol=1e-4, atol=1e-3)  # sums round in any order


def test_train_is_told_only_to_a_method_that_takes_it():
    told = []

    def with_train(learn, xb, yb, train):
        told.append(train)
        return xb, yb[:, 0]

    network_with(on_batch_begin=with_train).loss(IMAGES, TARGETS, train=False)
    assert told == [False]
    network_with(on_batch_begin=lambda learn, xb, yb: (xb, yb[:, 0])).loss(IMAGES, TARGETS, train=False)


def test_positions_may_come_with_or_without_a_channel():
    positions = torch.arange(128).reshape(2, 8, 8) % 4
    for shaped in (positions, positions[:, None]):
        scores = network_with(post_process=lambda pred, thres, found=shaped: found)(IMAGES)
        assert torch.equal(scores.argmax(dim=1), positions)
        assert scores.dtype == torch.float32


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (torch.zeros(2, 4, 4), r"\(2, 1, 8, 8\).*returned \(2, 4, 4\)"),
        (torch.full((2, 8, 8), 4), r"from 4 to 4: they are those among 4 outputs"),
        ([1, 2], "returned list"),
    ],
)
def test_predictions_of_pixels_that_cannot_be_are_refused(found, told):
    with pytest.raises(SettingError, match=f"post_process of Mine.*{told}"):
        network_with(post_process=lambda pred, thres: found)(IMAGES)


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (
            {"get_model": lambda data, backbone: "resnet18"},
            "get_model of Mine should return a torch.nn.Module",
        ),
        ({"on_batch_begin": lambda learn, xb, yb: xb}, "on_batch_begin of Mine should return"),
        ({"loss": lambda output, *target: output}, r"loss of Mine should return one number.*\(2, 4, 8, 8\)"),
        ({"loss": lambda output, *target: 0.5}, "loss of Mine should return one number.*float"),
    ],
)
def test_methods_that_return_something_else_are_named(method, told):
    with pytest.raises(SettingError, match=told):
        network_with(**method).loss(IMAGES, TARGETS, train=True)


def test_objects_below_the_threshold_are_dropped_whatever_the_class_does():
    chips = [{**BOX, "scores": torch.tensor([score])} for score in (0.4, 0.6)]
    network = network_with(Task.OBJECTS, post_process=lambda *args: chips)
    found = network.objects(IMAGES, threshold=0.5, nms_overlap=0.1)
    assert [len(chip["boxes"]) for chip in found] == [0, 1]
    assert found[1]["boxes"].shape == (1, 4)


def test_objects_of_no_class_are_refused_naming_the_method():
    wrong = {**BOX, "labels": torch.tensor([0])}
    network = network_with(Task.OBJECTS, post_process=lambda *args: [wrong, wrong])
    with pytest.raises(SettingError, match=r"post_process of Mine.*labels \(n,\) from 1 to 3.*labels \[0\]"):
        network(IMAGES)
