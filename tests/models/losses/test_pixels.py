import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F

from rasterloom.models.errors import SettingError
from rasterloom.models.losses.pixels import (
    IGNORE_INDEX,
    PixelLoss,
    PixelLossSettings,
    balanced_weights,
    dice_loss,
    focal_loss,
    given_weights,
)


def _batch(seed: int, *, outputs: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, outputs, 5, 6, generator=generator)
    return logits, torch.randint(0, outputs, (2, 5, 6), generator=generator)


def _loss(outputs=4, ignored=(), weights=None, **kwargs):
    return PixelLoss(outputs=outputs, ignored=ignored, settings=PixelLossSettings(**kwargs), weights=weights)


seeds = st.integers(0, 10_000)


@settings(max_examples=20)
@given(seeds)
def test_by_default_it_is_torchs_cross_entropy(seed):
    logits, target = _batch(seed)
    weights = torch.rand(4) + 0.1
    torch.testing.assert_close(_loss()(logits, target), F.cross_entropy(logits, target))
    torch.testing.assert_close(
        _loss(weights=weights)(logits, target), F.cross_entropy(logits, target, weight=weights)
    )


@settings(max_examples=20)
@given(seeds)
def test_focal_and_dice_are_what_a_plain_loop_gives(seed):
    logits, target = _batch(seed)
    probability = logits.softmax(1).movedim(1, -1).reshape(-1, 4).double().numpy()
    truth = target.reshape(-1).numpy()
    focal = np.mean([-((1 - p[t]) ** 2) * math.log(p[t]) for p, t in zip(probability, truth, strict=True)])
    hits = np.array([sum(p[k] for p, t in zip(probability, truth, strict=True) if t == k) for k in range(4)])
    size = probability.sum(0) + np.bincount(truth, minlength=4)
    macro = np.mean([1 - (2 * h + 1) / (s + 1) for h, s in zip(hits, size, strict=True)])
    micro = 1 - (2 * hits.sum() + 1) / (size.sum() + 1)
    assert set(truth) == {0, 1, 2, 3}
    assert float(_loss(focal_loss=True)(logits, target)) == pytest.approx(focal, rel=1e-4)
    assert float(dice_loss(logits, target, average="macro")) == pytest.approx(macro, rel=1e-4)
    assert float(dice_loss(logits, target, average="micro")) == pytest.approx(micro, rel=1e-4)


@pytest.mark.parametrize("average", ["micro", "macro"])
@pytest.mark.parametrize("focal", [False, True])
def test_the_fraction_mixes_dice_with_the_other_loss(average, focal):
    logits, target = _batch(3)
    mixed = _loss(dice_loss_fraction=0.3, dice_loss_average=average, focal_loss=focal)(logits, target)
    plain = _loss(focal_loss=focal)(logits, target)
    dice = dice_loss(logits, target, average=average)
    torch.testing.assert_close(mixed, 0.7 * plain + 0.3 * dice)
    only = _loss(dice_loss_fraction=1, dice_loss_average=average)(logits, target)
    torch.testing.assert_close(only, dice)


@pytest.mark.parametrize(
    "kwargs", [{}, {"focal_loss": True}, {"dice_loss_fraction": 0.5, "dice_loss_average": "macro"}]
)
def test_ignored_pixels_and_ignored_classes_have_no_gradient(kwargs):
    logits, target = _batch(5)
    logits.requires_grad_()
    target[0, 0] = IGNORE_INDEX
    _loss(ignored=[2], **kwargs)(logits, target).backward()
    nothing = (target == 2) | (target < 0)
    assert torch.count_nonzero(logits.grad[:, 2]) == 0
    assert torch.count_nonzero(logits.grad.movedim(1, -1)[nothing]) == 0
    assert torch.count_nonzero(logits.grad.movedim(1, -1)[~nothing]) > 0


@pytest.mark.parametrize("kwargs", [{}, {"focal_loss": True}, {"dice_loss_fraction": 0.5}])
def test_a_batch_where_nothing_counts_costs_nothing(kwargs):
    logits, target = _batch(1)
    logits.requires_grad_()
    loss = _loss(**kwargs)(logits, torch.full_like(target, -1))
    loss.backward()
    assert loss.item() == 0
    assert torch.count_nonzero(logits.grad) == 0


@pytest.mark.parametrize("kwargs", [{"focal_loss": True}, {"dice_loss_fraction": 0.5}, {}])
def test_certain_predictions_have_a_finite_loss_and_gradient(kwargs):
    _, target = _batch(2)
    logits = (1e4 * F.one_hot(target, 4).movedim(-1, 1).float()).requires_grad_()
    loss = _loss(**kwargs)(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-3)
    assert torch.isfinite(logits.grad).all()


def test_half_precision_scores_are_judged_in_full_precision():
    logits, target = _batch(4)
    loss = _loss()(logits.bfloat16(), target)
    assert loss.dtype == torch.float32


def test_balanced_weights_are_inverse_to_the_pixels_with_mean_1():
    pixels = {0: 80, 3: 15, 5: 5}
    weights = balanced_weights(pixels, (0, 3, 5), ())
    assert float(weights[1] / weights[0]) == pytest.approx(80 / 15)
    assert sum(float(w) * pixels[v] for w, v in zip(weights, pixels, strict=True)) == pytest.approx(100)


def test_a_class_without_pixels_and_an_ignored_one_do_not_spoil_the_weights():
    weights = balanced_weights({1: 30, 2: 10}, (0, 1, 2, 9), (0,))
    assert weights.tolist() == pytest.approx([0, 2 / 3, 2, 2])
    with pytest.raises(SettingError, match="labelled pixels"):
        balanced_weights({0: 5}, (0, 1), (0,))


def test_focal_loss_without_gamma_is_cross_entropy():
    logits, target = _batch(8)
    torch.testing.assert_close(
        focal_loss(logits, target, weights=None, gamma=0.0), F.cross_entropy(logits, target)
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"dice_loss_fraction": 1.5}, "from 0 to 1"),
        ({"dice_loss_average": "weighted"}, "'micro' or 'macro'"),
        ({"class_balancing": "yes"}, "True or False"),
        ({"mixup": 1}, "True or False"),
        ({"ignore_classes": 3}, "list of integers"),
    ],
)
def test_settings_that_cannot_work_are_refused(kwargs, message):
    with pytest.raises(SettingError, match=message):
        PixelLossSettings(**kwargs)


@pytest.mark.parametrize(
    "given", [{1: 2, 7: 0.5}, {"1": 2.0, "7": 0.5}, [1, 2, 1, 0.5], (1.0, 2.0, 1.0, 0.5)]
)
def test_class_weights_go_by_class_value_or_in_the_order_of_the_outputs(given):
    chosen = PixelLossSettings(class_weights=given)
    assert given_weights(chosen.class_weights, (0, 1, 2, 7), ()).tolist() == [1.0, 2.0, 1.0, 0.5]
    assert json.loads(json.dumps(chosen.class_weights)) in ({"1": 2.0, "7": 0.5}, [1.0, 2.0, 1.0, 0.5])


@settings(max_examples=20)
@given(seeds, st.lists(st.floats(0.1, 10), min_size=4, max_size=4))
def test_class_weights_weigh_as_torchs_cross_entropy_does(seed, weights):
    logits, target = _batch(seed)
    tensor = given_weights(weights, (0, 1, 2, 3), ())
    torch.testing.assert_close(
        _loss(weights=tensor)(logits, target), F.cross_entropy(logits, target, weight=tensor)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "use a weight for each class value"),
        ([], "use a weight for each class value"),
        ("balanced", "use a weight for each class value"),
        (2.0, "use a weight for each class value"),
        ({"Field": 2.0}, "'Field', which is no class value"),
        ({True: 2.0}, "True, which is no class value"),
        ({-1: 2.0}, "-1, which is no class value"),
        ([1.0, -1.0], "holds -1.0: use numbers from 0"),
        ([1.0, math.nan], "holds nan"),
        ([1.0, math.inf], "holds inf"),
        ([1.0, "2"], "holds '2'"),
        ([1.0, True], "holds True"),
    ],
)
def test_class_weights_that_are_none_are_refused(given, message):
    with pytest.raises(SettingError, match=message):
        PixelLossSettings(class_weights=given)


def test_class_weights_and_balancing_exclude_each_other():
    with pytest.raises(SettingError, match="use class_balancing=False"):
        PixelLossSettings(class_weights={1: 2.0}, class_balancing=True)


@pytest.mark.parametrize(
    ("given", "ignored", "message"),
    [
        ({"3": 2.0}, (), r"names \[3\], but the class values are \[0, 1, 7\]"),
        ([1.0, 2.0], (), r"has 2 numbers, but there are 3 outputs.* such as \{7: 2.0\}"),
        ([0.0, 0.0, 0.0], (), "leaves no class that counts"),
        ([0.0, 0.0, 1.0], (7,), "leaves no class that counts"),
    ],
)
def test_class_weights_that_do_not_fit_the_classes_are_refused(given, ignored, message):
    with pytest.raises(SettingError, match=message):
        given_weights(given, (0, 1, 7), ignored)
