"""Leaves cover the plane, share the work, and know what touches them."""

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.seams.leaves import Leaves


def boxes_of(count: int, seed: int, *, side: float = 5.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    corner = random.normal(0, 100, (count, 2)) ** 3 / 1000  # dense in the middle
    return np.concatenate([corner, corner + random.random((count, 2)) * side], axis=1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_a_leaf_is_met_by_the_boxes_that_touch_its_rectangle(count: int, seed: int, leaf: int) -> None:
    boxes = boxes_of(count, seed)
    leaves = Leaves.over(boxes, leaf=leaf)
    met = {number: rows.tolist() for number, rows in leaves.meeting(boxes)}
    for number in range(leaves.count):
        x1, y1, x2, y2 = leaves.rectangle(number)
        left, top, right, bottom = boxes.T
        touching = (left <= x2) & (top <= y2) & (right >= x1) & (bottom >= y1)
        assert met.get(number, []) == np.flatnonzero(touching).tolist()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_every_point_lies_in_a_leaf(count: int, seed: int, leaf: int) -> None:
    leaves = Leaves.over(boxes_of(count, seed), leaf=leaf)
    x, y = np.random.default_rng(seed).normal(0, 1000, 2)
    inside = [leaves.rectangle(number) for number in range(leaves.count)]
    assert sum(x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in inside) == 1


def test_leaves_hold_about_as_many_each_however_the_boxes_lie() -> None:
    boxes = boxes_of(50_000, 0, side=0.01)
    leaves = Leaves.over(boxes, leaf=1000)
    counts = [len(rows) for _, rows in leaves.meeting(boxes)]
    assert leaves.count == len(counts)
    assert 40 <= leaves.count <= 70
    assert max(counts) < 1500


def test_boxes_as_large_as_all_there_is_are_one_leaf() -> None:
    assert Leaves.over(boxes_of(5000, 0, side=100_000), leaf=10).count == 1


def test_boxes_in_one_place_are_one_leaf() -> None:
    assert Leaves.over(np.repeat([[3.0, 3, 4, 4]], 5000, axis=0), leaf=10).count == 1
