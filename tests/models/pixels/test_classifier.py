import dataclasses
import math

import numpy as np
import pytest
import torch

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.parts import Part
from rasterloom.models.pixels import classifier
from rasterloom.models.pixels.unet import UnetClassifier
from rasterloom.pipeline.metrics.pixels import Confusion

COUNTS = np.array([[50, 0, 0, 0], [10, 20, 5, 0], [0, 5, 10, 0], [0, 0, 0, 0]])


@pytest.fixture
def judged(monkeypatch, make_data, shape):
    """A model whose validation set gives ``COUNTS``; its outputs are 0, 1 (Field), 2 (Water), 7 (Road)."""

    def make(**kwargs):
        model = UnetClassifier(make_data(), **shape, **kwargs)
        monkeypatch.setattr(
            classifier,
            "service",
            lambda name: lambda model, data, show_progress: Confusion(model.spec.output_values, COUNTS),
        )
        return model

    return make


def test_accuracy_counts_every_pixel(judged):
    assert judged().accuracy() == pytest.approx(0.8)


def test_iou_is_by_class_name_without_the_background_that_is_no_class(judged):
    found = judged().mIOU()
    assert list(found) == ["Field", "Water", "Road"]
    assert (found["Field"], found["Water"]) == (0.5, 0.5)
    assert math.isnan(found["Road"])
    assert judged().mIOU(mean=True) == 0.5
    assert list(judged(ignore_classes=[2]).mIOU()) == ["Field", "Road"]


def test_background_counts_where_it_is_a_class(monkeypatch, make_data, shape):
    data = make_data()
    classes = (ClassInfo(0, "Bare", (1, 1, 1)), *data.spec.classes)
    data = dataclasses.replace(data, spec=dataclasses.replace(data.spec, classes=classes))
    model = UnetClassifier(data, **shape)
    assert model.unscored_values == ()
    assert [c.name for c in model.output_classes] == ["Bare", "Field", "Water", "Road"]


def test_the_table_has_a_column_for_each_class_and_leaves_out_what_is_asked(judged):
    table = judged().per_class_metrics(ignore_classes=[7])
    assert list(table.columns) == ["Field", "Water"]
    assert list(table.index) == ["precision", "recall", "f1"]
    assert table.loc["precision", "Field"] == pytest.approx(20 / 25)
    assert table.loc["recall", "Field"] == pytest.approx(20 / 35)
    with pytest.raises(SettingError, match="no classes"):
        judged().per_class_metrics(ignore_classes=[5])


def test_figures_need_data(judged, shape):
    model = UnetClassifier.from_spec(judged().spec)
    with pytest.raises(SettingError, match=r"from_model\(path, data="):
        model.accuracy()


def test_facts_for_the_package_hold_figures_only_on_request(judged):
    model = judged(ignore_classes=[0])
    assert model.package_facts(compute_metrics=False) == {"ignore_mapped_class": [0]}
    facts = model.package_facts(compute_metrics=True)
    assert facts["accuracy"] == pytest.approx(0.8)
    assert set(facts["per_class_metrics"]) == {"precision", "recall", "f1"}


def test_probabilities_add_up_to_1_and_ignored_classes_are_never_predicted(judged):
    logits = torch.randn(2, 4, 8, 8)
    logits[:, 2] += 100
    plain, without = judged().probabilities(logits), judged(ignore_classes=[2]).probabilities(logits)
    torch.testing.assert_close(plain, logits.softmax(1))
    torch.testing.assert_close(without.sum(1), torch.ones(2, 8, 8))
    assert torch.count_nonzero(without[:, 2]) == 0


@pytest.mark.parametrize(("ignored", "message"), [([5], "are no classes"), ([0, 1, 2], "fewer than two")])
def test_classes_that_cannot_be_ignored_are_refused(make_data, shape, ignored, message):
    with pytest.raises(SettingError, match=message):
        UnetClassifier(make_data(), ignore_classes=ignored, **shape)


def test_class_balancing_weighs_by_the_pixels_of_the_data(make_data, shape):
    logits, target = torch.zeros(1, 4, 2, 2), torch.tensor([[[0, 1], [2, 3]]])
    logits[:, 0] = 1.0
    plain = UnetClassifier(make_data(), **shape)
    balanced = UnetClassifier(make_data(), class_balancing=True, **shape)
    weights = torch.tensor([100 / 4 / n for n in (50, 30, 15, 5)])
    expected = torch.nn.functional.cross_entropy(logits, target, weight=weights)
    torch.testing.assert_close(balanced.loss(logits, target), expected)
    assert plain.loss(logits, target) < balanced.loss(logits, target)
    with pytest.raises(SettingError, match="class_balancing needs data"):
        UnetClassifier.from_spec(balanced.spec).loss(logits, target)


def test_mixup_is_told_to_the_training(make_data, shape):
    assert UnetClassifier(make_data(), mixup=True, **shape).mixup
    assert not UnetClassifier(make_data(), **shape).mixup


def test_class_weights_weigh_without_data(make_data, shape):
    logits, target = torch.randn(1, 4, 2, 2), torch.tensor([[[0, 1], [2, 3]]])
    model = UnetClassifier(make_data(), class_weights={7: 4.0}, **shape)
    expected = torch.nn.functional.cross_entropy(logits, target, weight=torch.tensor([1.0, 1.0, 1.0, 4.0]))
    torch.testing.assert_close(model.loss(logits, target), expected)
    torch.testing.assert_close(UnetClassifier.from_spec(model.spec).loss(logits, target), expected)


class _Answering(torch.nn.Module):
    """A network that gives the same parts whatever it sees, and keeps what it saw."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        self.seen = images
        return self.answer


def _parts():
    points = torch.tensor([[[0.1, 0.1], [0.9, 0.6]], [[0.4, 0.9], [0.6, 0.1]]])
    return [
        Part(torch.randn(2, 4, 8, 8)),
        Part(torch.randn(2, 4, 8, 8), weight=0.4),
        Part(torch.randn(2, 4, 2, 1), at=points),
    ]


def test_the_training_loss_is_the_weighted_sum_over_the_parts_of_the_answer(make_data, shape):
    model = UnetClassifier(make_data(), focal_loss=True, **shape)
    parts, targets = _parts(), torch.randint(0, 4, (2, 8, 8))
    model.network = _Answering(parts)
    whole, side, points = (model.loss(part.logits, part.target(targets)) for part in parts)
    found = model.training_loss((torch.zeros(2, 3, 8, 8), targets))
    torch.testing.assert_close(found, whole + 0.4 * side + points)
    at_points = torch.stack([targets[0, [0, 4], [0, 7]], targets[1, [7, 0], [3, 4]]])
    assert torch.equal(parts[2].target(targets)[..., 0], at_points)


def test_mixup_blends_the_images_and_the_losses_of_every_part_alike(make_data, shape):
    model = UnetClassifier(make_data(), mixup=True, **shape)
    parts, targets = _parts(), torch.randint(0, 4, (2, 8, 8))
    model.network = _Answering(parts)
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    seen = set()
    for seed in range(8):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found = model.training_loss((images, targets))
        first, second = model.network.seen[0, 0, 0, 0].item(), model.network.seen[1, 0, 0, 0].item()
        swapped = first != 0 or second != 1
        # the first image is 0, so its value is the share of the other one
        share, other = (first, targets.flip(0)) if swapped else (0.0, targets)
        losses = [
            [p.weight * model.loss(p.logits, p.target(each)) for p in parts] for each in (targets, other)
        ]
        torch.testing.assert_close(found, (1 - share) * sum(losses[0]) + share * sum(losses[1]))
        seen.add(swapped)
    assert seen == {True, False}
