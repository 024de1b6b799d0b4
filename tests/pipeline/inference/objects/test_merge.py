"""Eight looks at a chip become one: what they agree on, or what the most certain of them says."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from rasterloom.pipeline.inference.augment import DIHEDRAL
from rasterloom.pipeline.inference.objects.finds import Finds
from rasterloom.pipeline.inference.objects.merge import merged_looks


def _look(*things: tuple[tuple[float, ...], int, float], masks: np.ndarray | None = None) -> Finds:
    boxes, labels, scores = zip(*things, strict=True) if things else ((), (), ())
    found = Finds(
        boxes=np.array(boxes, float).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        scores=np.array(scores, np.float32),
        unusable=0,
    )
    if masks is not None:
        found["masks"] = masks
    return found


def _merged(looks: list[Finds], policy: str) -> list[tuple[list[float], float]]:
    found = merged_looks(looks, policy=policy, nms_overlap=0.1)
    return list(zip(found["boxes"].tolist(), found["scores"].astype(float).round(4).tolist(), strict=True))


BOX, NEAR, FAR = (10.0, 10.0, 30.0, 30.0), (12.0, 10.0, 32.0, 30.0), (60.0, 60.0, 70.0, 70.0)


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("mean", [([11.0, 10.0, 31.0, 30.0], 0.8)]),
        ("max", [(list(BOX), 0.9), (list(FAR), 0.6)]),
        ("min", [([11.0, 10.0, 31.0, 30.0], 0.7)]),
    ],
)
def test_a_policy_says_what_becomes_of_what_looks_show(policy, kept):
    looks = [_look((BOX, 1, 0.9)), _look((NEAR, 1, 0.7)), _look((BOX, 1, 0.9)), _look((NEAR, 1, 0.7))]
    looks[0] = _look((BOX, 1, 0.9), (FAR, 1, 0.6))  # seen by one of four only
    assert _merged(looks, policy) == kept


def test_half_of_the_looks_are_enough_for_the_mean_and_less_are_not():
    half = [_look((BOX, 1, 0.9))] * 2 + [_look()] * 2
    assert len(_merged(half, "mean")) == 1
    assert _merged([*half, _look()], "mean") == []
    assert _merged(half, "min") == []


def test_things_of_two_classes_are_never_one():
    looks = [_look((BOX, 1, 0.9), (BOX, 2, 0.8))] * 4
    assert len(_merged(looks, "mean")) == 2


def test_neighbours_in_one_look_stay_apart_however_much_another_look_blurs_them():
    blurred = (10.0, 10.0, 39.0, 30.0)
    looks = [_look((BOX, 1, 0.9), ((30.0, 10.0, 50.0, 30.0), 1, 0.8)), _look((blurred, 1, 0.6))]
    assert (list(BOX), pytest.approx(0.9)) in _merged(looks, "max")
    assert len(_merged(looks, "max")) == 2


def test_masks_are_put_to_the_vote():
    one, two = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    one[0, :2], two[0, 1:3] = True, True
    thing = ((0.0, 0.0, 4.0, 4.0), 1, 0.9)
    looks = [_look(thing, masks=one), _look(thing, masks=one), _look(thing, masks=two)]
    for policy, rows in (("mean", [0, 1]), ("max", [0, 1]), ("min", [1])):
        found = merged_looks(looks, policy=policy, nms_overlap=0.1)
        assert np.flatnonzero(found["masks"][0].any(axis=1)).tolist() == rows


@given(
    turn=st.sampled_from(DIHEDRAL),
    box=st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(1, 9), st.integers(1, 9)),
)
def test_a_box_of_a_turned_image_is_turned_back_to_where_it_was(turn, box):
    x, y, width, height = box
    image = torch.zeros(1, 1, 20, 20)
    image[0, 0, y : y + height, x : x + width] = 1
    rows, cols = np.nonzero(turn.apply(image)[0, 0].numpy())
    seen = np.array([[cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]], float)
    assert turn.undo_boxes(seen, 20).tolist() == [[x, y, x + width, y + height]]
