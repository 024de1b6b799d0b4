"""Edges found near true ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from skimage.morphology import thin

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.edges import EdgeCounts, count_edges

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
THRESHOLDS = (0.25, 0.5, 0.75)


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities in quarters, and where the truth is known."""
    shape = draw(SIDES)
    quarters = draw(arrays(np.int8, shape, elements=st.integers(0, 4)))
    known = draw(st.one_of(st.just(np.ones(shape, bool)), arrays(bool, shape)))
    return draw(arrays(bool, shape)), quarters / 4, known


def near(edges: np.ndarray, others: np.ndarray, buffer: float) -> int:
    """How many edges have another within a distance, looked for one by one."""
    there = np.argwhere(others)
    return sum(any(math.dist(one, other) <= buffer for other in there) for one in np.argwhere(edges))


@given(image=images(), buffer=st.sampled_from([0, 1, 1.5, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_the_counts_are_those_of_looking_at_each_pair_of_pixels(image, buffer) -> None:
    truth, probability, known = image
    found = count_edges(truth, probability, thresholds=THRESHOLDS, buffer=buffer, known=known)
    true = truth & known
    for row, threshold in enumerate(THRESHOLDS):
        edges = (probability >= threshold) & known
        expected = [edges.sum(), near(edges, true, buffer), true.sum(), near(true, edges, buffer)]
        assert found.counts[0, row].tolist() == expected


@given(image=images())
@settings(max_examples=30, deadline=None)
def test_a_wider_buffer_never_finds_less(image) -> None:
    truth, probability, _ = image
    counts = [count_edges(truth, probability, thresholds=[0.5], buffer=buffer).counts for buffer in range(5)]
    assert (np.diff(np.concatenate(counts, axis=1)[0], axis=0) >= 0).all()


def test_what_is_found_a_little_beside_the_truth_is_right_within_the_buffer() -> None:
    truth, probability = np.zeros((20, 20), bool), np.zeros((20, 20))
    truth[:, 5], probability[:10, 7] = True, 1.0
    counts = count_edges(truth, probability, thresholds=[0.5], buffer=2)
    figures = counts.figures(0.5)
    assert figures == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    none = count_edges(truth, probability, thresholds=[0.5], buffer=1).figures(0.5)
    assert none == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_thin_edges_are_counted_along_their_length() -> None:
    truth, probability = np.zeros((40, 60), bool), np.zeros((40, 60))
    truth[18:23, 5:55], probability[16:25, 5:55] = True, 0.8
    (row,) = count_edges(truth, probability, thresholds=[0.5], buffer=2, thinning=True).counts[0]
    assert row[0] == row[1] == thin(probability > 0.5).sum()
    assert row[2] == thin(truth).sum()
    assert row[0] < 60


def test_the_best_threshold_of_the_set_and_of_each_image_are_found() -> None:
    """Of one image everything above 0.2 is right, of the other everything above 0.7."""
    truth = np.zeros((2, 9, 9), bool)
    truth[:, 4] = True
    low = np.where(truth[0], 0.3, 0.1)
    high = np.where(truth[1], 0.9, 0.6)
    high[2:7] = np.where(truth[1][2:7], 0.9, 0.0)
    parts = [
        count_edges(one, probability, thresholds=(0.2, 0.7), buffer=1)
        for one, probability in zip(truth, (low, high), strict=True)
    ]
    counts = EdgeCounts.merged(parts)
    assert counts.ois() == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    ods = counts.ods()
    assert ods["threshold"] == 0.7
    assert ods["precision"] == 1.0
    assert ods["recall"] == 0.5
    assert ods["f1"] == max(counts.figures(threshold)["f1"] for threshold in (0.2, 0.7))


@given(st.lists(images(), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_figures_lie_between_0_and_1_and_the_best_of_the_set_is_the_best_of_its_thresholds(some) -> None:
    counts = EdgeCounts.merged(
        count_edges(truth, probability, thresholds=THRESHOLDS, buffer=1) for truth, probability, _ in some
    )
    figures = [counts.figures(threshold) for threshold in counts.thresholds]
    assert all(math.isnan(v) or 0 <= v <= 1 for row in [*figures, counts.ods()] for v in row.values())
    totals = np.nan_to_num([row["f1"] for row in figures])
    assert np.nan_to_num(counts.ods()["f1"]) == totals.max()


def test_where_nothing_is_there_is_nothing_to_take_a_share_of() -> None:
    nothing = count_edges(np.zeros((4, 4), bool), np.zeros((4, 4)), thresholds=[0.5], buffer=1)
    assert all(math.isnan(value) for value in nothing.figures(0.5).values())
    missed = count_edges(np.ones((4, 4), bool), np.zeros((4, 4)), thresholds=[0.5], buffer=1).figures(0.5)
    assert math.isnan(missed["precision"])
    assert (missed["recall"], missed["f1"]) == (0.0, 0.0)
    wrong = count_edges(np.zeros((4, 4), bool), np.ones((4, 4)), thresholds=[0.5], buffer=1).figures(0.5)
    assert (wrong["precision"], wrong["f1"]) == (0.0, 0.0)
    assert math.isnan(wrong["recall"])


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"thresholds": [1.5]}, "threshold=1.5 is no probability"),
        ({"thresholds": []}, "leaves nothing to count"),
        ({"buffer": -1}, "buffer=-1 cannot work"),
        ({"buffer": math.nan}, "buffer=nan cannot work"),
        ({"known": np.ones((2, 2), bool)}, "differ in shape"),
    ],
)
def test_what_cannot_work_is_refused(settings_, message) -> None:
    usual = {"thresholds": [0.5], "buffer": 3}
    with pytest.raises(SettingError, match=message):
        count_edges(np.zeros((3, 3), bool), np.zeros((3, 3)), **(usual | settings_))


def test_counts_at_other_thresholds_are_not_put_together() -> None:
    one, other = (
        count_edges(np.zeros((3, 3), bool), np.zeros((3, 3)), thresholds=[threshold], buffer=1)
        for threshold in (0.4, 0.5)
    )
    with pytest.raises(SettingError, match="different thresholds"):
        EdgeCounts.merged([one, other])
