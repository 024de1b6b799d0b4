"""Counts of chips with several labels, against plain loops and scikit-learn's definitions."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.scenes import LabelCounts

VALUES = (2, 5, 9)
labels = st.integers(0, 12).flatmap(lambda n: st.tuples(*[arrays(bool, (n, 3))] * 2))


@given(labels)
def test_counts_are_those_of_a_plain_loop(pair):
    truth, given_ = pair
    counts = np.zeros((3, 2, 2), int)
    for true, got in zip(truth, given_, strict=True):
        for place in range(3):
            counts[place, int(true[place]), int(got[place])] += 1
    assert np.array_equal(LabelCounts.of(truth, given_, VALUES).counts, counts)


@given(labels)
def test_figures_are_shares_of_the_chips(pair):
    truth, given_ = pair
    counts = LabelCounts.of(truth, given_, VALUES)
    hits = truth & given_
    for place, value in enumerate(VALUES):
        hit, true, got = (int(part[:, place].sum()) for part in (hits, truth, given_))
        if not true and not got:
            assert math.isnan(counts.f1()[value])
            continue
        assert counts.precision()[value] == (hit / got if got else 0.0)
        assert counts.recall()[value] == (hit / true if true else 0.0)
        assert counts.f1()[value] == pytest.approx(2 * hit / (true + got))
    if len(truth):
        assert counts.accuracy == pytest.approx((truth == given_).mean())
    else:
        assert math.isnan(counts.accuracy)


@given(labels, labels)
def test_parts_put_together_are_the_whole(first, second):
    whole = LabelCounts.of(*(np.concatenate(pair) for pair in zip(first, second, strict=True)), VALUES)
    assert LabelCounts.of(*first, VALUES).merge(LabelCounts.of(*second, VALUES)) == whole
    assert whole.merge(LabelCounts.empty(VALUES)) == whole
    assert LabelCounts.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_the_mean_leaves_out_classes_that_do_not_occur():
    truth = np.array([[1, 0, 0], [1, 1, 0]])
    counts = LabelCounts.of(truth, np.array([[1, 0, 0], [1, 0, 0]]), VALUES)
    assert counts.mean_f1() == 0.5
    assert counts.mean_f1(ignore=[5]) == 1.0
    assert math.isnan(counts.mean_f1(ignore=[2, 5]))


def test_counts_that_do_not_belong_together_are_refused():
    with pytest.raises(SettingError, match="cannot be compared"):
        LabelCounts.of(np.zeros((2, 3)), np.zeros((2, 2)), VALUES)
    with pytest.raises(SettingError, match="do not fit 3 classes"):
        LabelCounts(VALUES, np.zeros((3, 2), np.int64))
    with pytest.raises(SettingError, match="cannot be added"):
        LabelCounts.empty(VALUES).merge(LabelCounts.empty((1, 2, 3)))
