"""Pixel metrics against plain loops."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics import pixels
from rasterloom.pipeline.metrics.pixels import Confusion

VALUES = (0, 3, 7)
maps = hnp.arrays(np.uint8, st.tuples(st.integers(0, 6), st.integers(0, 6)), elements=st.sampled_from(VALUES))


@st.composite
def pairs(draw):
    truth = draw(maps)
    return truth, draw(hnp.arrays(np.uint8, truth.shape, elements=st.sampled_from(VALUES)))


@settings(max_examples=40)
@given(pair=pairs())
def test_counts_are_those_of_a_plain_loop(pair):
    truth, predicted = pair
    expected = np.zeros((3, 3), int)
    for t, p in zip(truth.ravel(), predicted.ravel(), strict=True):
        expected[VALUES.index(t), VALUES.index(p)] += 1
    assert (Confusion.of(truth, predicted, VALUES).counts == expected).all()


@settings(max_examples=40)
@given(pair=pairs())
def test_figures_of_each_class_follow_from_sets_of_pixels(pair):
    truth, predicted = pair
    confusion = Confusion.of(truth, predicted, VALUES)
    for value in VALUES:
        true, given_ = truth == value, predicted == value
        both, either = int((true & given_).sum()), int((true | given_).sum())
        if either == 0:
            for figures in (confusion.iou(), confusion.f1(), confusion.precision(), confusion.recall()):
                assert math.isnan(figures[value])
            continue
        assert confusion.iou()[value] == both / either
        assert confusion.f1()[value] == 2 * both / (true.sum() + given_.sum())
        assert confusion.precision()[value] == (both / given_.sum() if given_.any() else 0.0)
        assert confusion.recall()[value] == (both / true.sum() if true.any() else 0.0)


@settings(max_examples=20)
@given(pair=pairs())
def test_parts_merge_to_the_whole(pair):
    truth, predicted = pair
    parts = [Confusion.of(truth[i::2], predicted[i::2], VALUES) for i in (0, 1)]
    assert parts[0].merge(parts[1]) == Confusion.of(truth, predicted, VALUES)


def test_counting_in_blocks_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    truth, predicted = rng.choice(VALUES, (2, 50, 7))
    whole = Confusion.of(truth, predicted, VALUES)
    monkeypatch.setattr(pixels, "_BLOCK", 16)
    assert Confusion.of(truth, predicted, VALUES) == whole
    assert hash(Confusion.of(truth, predicted, VALUES)) == hash(whole)


def test_values_keep_the_order_they_were_given_in():
    confusion = Confusion.of(np.array([9, 2]), np.array([9, 9]), (9, 2))
    assert confusion.counts.tolist() == [[1, 0], [1, 0]]


def test_absent_and_ignored_classes_are_left_out_of_means():
    confusion = Confusion.of(np.array([0, 0, 3, 3]), np.array([0, 3, 3, 3]), VALUES)
    assert confusion.accuracy == 0.75
    assert confusion.mean_iou() == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert confusion.mean_f1() == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert confusion.mean_iou(ignore=[0]) == pytest.approx(2 / 3)
    assert math.isnan(confusion.mean_iou(ignore=[0, 3]))


def test_nothing_counted_has_no_figures():
    confusion = Confusion.empty(VALUES)
    assert math.isnan(confusion.accuracy)
    assert math.isnan(confusion.mean_iou())


def test_json_brings_it_back():
    confusion = Confusion.of(np.array([0, 3, 7]), np.array([0, 0, 7]), VALUES)
    assert Confusion.from_json(json.loads(json.dumps(confusion.to_json()))) == confusion
    assert confusion != Confusion.empty(VALUES)
    assert confusion != "confusion"


def test_large_counts_stay_exact():
    many = Confusion((0,), np.array([[2**53]], np.int64))
    assert many.merge(Confusion((0,), np.array([[1]], np.int64))).total == 2**53 + 1


def test_a_value_that_is_no_class_is_named():
    with pytest.raises(SettingError, match=r"prediction holds values \[5\].*\(0, 3, 7\)"):
        Confusion.of(np.array([0]), np.array([5]), VALUES)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Confusion.of(np.zeros((2, 2), int), np.zeros((2, 3), int), VALUES),
        lambda: Confusion((0, 0), np.zeros((2, 2), np.int64)),
        lambda: Confusion((0, 1), np.zeros((3, 3), np.int64)),
        lambda: Confusion.empty((0, 1)).merge(Confusion.empty((1, 0))),
    ],
)
def test_counts_that_do_not_fit_are_refused(wrong):
    with pytest.raises(SettingError):
        wrong()
