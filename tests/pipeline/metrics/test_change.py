"""Figures of changed pixels against plain counts."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.change import ChangeScores
from rasterloom.pipeline.metrics.pixels import Confusion


def scores_of(truth, found, values=(0, 1, 7)):
    return ChangeScores(Confusion.of(np.array(truth), np.array(found), values))


@given(pairs=st.lists(st.tuples(st.sampled_from([0, 1, 7]), st.sampled_from([0, 1, 7])), max_size=60))
def test_figures_are_those_of_a_plain_count(pairs):
    truth, found = ([pair[side] for pair in pairs] for side in (0, 1))
    scores = scores_of(truth, found)
    hits = sum(t == f != 0 for t, f in pairs)
    true, given_ = sum(t != 0 for t in truth), sum(f != 0 for f in found)
    if true + given_ == 0:
        assert all(math.isnan(getattr(scores, name)) for name in ("precision", "recall", "f1", "iou"))
        return
    assert scores.precision == (hits / given_ if given_ else 0.0)
    assert scores.recall == (hits / true if true else 0.0)
    assert scores.f1 == pytest.approx(2 * hits / (true + given_))
    assert scores.iou == pytest.approx(hits / (true + given_ - hits))


@given(pairs=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_one_kind_of_change_has_the_figures_of_its_class(pairs):
    truth, found = ([int(pair[side]) for pair in pairs] for side in (0, 1))
    scores = scores_of(truth, found, (0, 1))
    confusion = scores.confusion
    np.testing.assert_equal(
        [scores.precision, scores.recall, scores.f1, scores.iou],
        [confusion.precision()[1], confusion.recall()[1], confusion.f1()[1], confusion.iou()[1]],
    )


def test_counts_without_no_change_are_refused():
    with pytest.raises(SettingError, match=r"\(1, 7\) hold no 0"):
        scores_of([1, 7], [1, 7], (1, 7))
