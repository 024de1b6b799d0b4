"""The same things, whatever chips saw them."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.seams.candidates import Candidates, ChipViews
from rasterloom.pipeline.seams.resolve import SeamRules, resolve, settle
from tests.support.seams import cases, naive_resolve, seen_by_chips, things, views


@settings(max_examples=150, deadline=None)
@given(cases())
def test_resolving_agrees_with_a_plain_loop_over_all_pairs(case: tuple[Candidates, SeamRules]) -> None:
    found = resolve(*case)
    assert things(found) == naive_resolve(*case)


@settings(max_examples=50, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(case: tuple[Candidates, SeamRules], random: Any) -> None:
    given_candidates, rules = case
    order = list(range(len(given_candidates)))
    random.shuffle(order)
    shuffled = given_candidates.taken(np.array(order, int))
    assert resolve(shuffled, rules).to_bytes() == resolve(given_candidates, rules).to_bytes()


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_what_is_settled_early_is_what_is_settled_in_the_end(
    case: tuple[Candidates, SeamRules], seed: int
) -> None:
    # Any box may be exposed, as long as the others' fate does not hang on it: here, boxes are cut at a line.
    given_candidates, rules = case
    line = float(np.random.default_rng(seed).integers(0, rules.views.shape[1]))
    line = line // rules.views.stride * rules.views.stride
    mine = given_candidates.chips[:, 1] * rules.views.stride < line
    padding = rules.views.padding
    left = settle(given_candidates.taken(mine), rules, lambda boxes: boxes[:, 2] > line - padding)
    right = settle(given_candidates.taken(~mine), rules, lambda boxes: boxes[:, 0] < line + padding)
    rest = settle(Candidates.joined([left[1], right[1]]), rules)
    assert sorted(things(left[0]) + things(right[0]) + things(rest[0])) == naive_resolve(*case)


@st.composite
def scattered(draw: Any) -> tuple[np.ndarray, ChipViews]:
    """Rectangles that share no area and no side longer than the overlap, dense enough to touch."""
    padding = draw(st.integers(1, 6))
    chosen = ChipViews(
        tile=draw(st.integers(1, 10)) + 2 * padding,
        padding=padding,
        shape=draw(st.tuples(st.integers(8, 45), st.integers(8, 45))),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    taken, boxes = np.zeros(chosen.shape, bool), []
    for _ in range(draw(st.integers(0, 60))):
        y, x = (int(random.integers(0, side)) for side in chosen.shape)
        height, width = random.integers(1, 2 * padding + 1, 2).tolist()
        y2, x2 = min(y + height, chosen.shape[0]), min(x + width, chosen.shape[1])
        if not taken[y:y2, x:x2].any():
            taken[y:y2, x:x2] = True
            boxes.append([x, y, x2, y2])
    return np.array(boxes, float).reshape(-1, 4), chosen


@settings(max_examples=60, deadline=None)
@given(scattered(), st.booleans())
def test_objects_up_to_the_overlap_are_found_once_each_and_whole(
    case: tuple[np.ndarray, ChipViews], careful: bool
) -> None:
    boxes, chosen = case
    margin = min(2, chosen.padding) if careful else 0
    found = resolve(seen_by_chips(boxes, chosen, margin=margin), SeamRules(chosen))
    assert sorted(found.boxes.tolist()) == sorted(boxes.tolist())
    assert not found.cut.any()


@settings(max_examples=60, deadline=None)
@given(
    views().filter(lambda v: v.padding > 0),
    st.tuples(*[st.integers(0, 49)] * 2),
    st.tuples(*[st.integers(1, 50)] * 2),
)
def test_an_object_of_any_size_is_joined_to_one(
    chosen: ChipViews, start: tuple[int, int], size: tuple[int, int]
) -> None:
    x, y = start[0] % chosen.shape[1], start[1] % chosen.shape[0]
    box = [x, y, min(x + size[0], chosen.shape[1]), min(y + size[1], chosen.shape[0])]
    found = resolve(seen_by_chips(np.array([box], float), chosen), SeamRules(chosen))
    assert found.boxes.tolist() == [box]
    assert found.cut.tolist() == [False]


def test_without_padding_a_long_object_is_told_in_parts_that_say_so() -> None:
    chosen = ChipViews(tile=10, padding=0, shape=(10, 30))
    found = resolve(seen_by_chips(np.array([[2.0, 2, 25, 6], [12, 7, 15, 9]]), chosen), SeamRules(chosen))
    assert things(found) == [
        ((2, 2, 10, 6), 1, 1, True, b""),
        ((10, 2, 20, 6), 1, 1, True, b""),
        ((12, 7, 15, 9), 1, 1, False, b""),
        ((20, 2, 25, 6), 1, 1, True, b""),
    ]


def test_a_side_that_a_neighbour_sees_beyond_but_reports_nothing_of_stays_cut() -> None:
    chosen = ChipViews(tile=10, padding=2, shape=(10, 30))
    seen = seen_by_chips(np.array([[2.0, 2, 27, 6]]), chosen)
    assert resolve(seen, SeamRules(chosen)).cut.tolist() == [False]
    without_the_last = seen.taken(seen.chips[:, 1] < seen.chips[:, 1].max())
    assert resolve(without_the_last, SeamRules(chosen)).cut.tolist() == [True]


def test_outlines_of_an_object_that_no_chip_saw_whole_become_one() -> None:
    chosen = ChipViews(tile=10, padding=2, shape=(10, 30))
    ell = shapely.Polygon([(2, 2), (25, 2), (25, 8), (22, 8), (22, 4), (2, 4)])
    seen = seen_by_chips(np.array([ell.bounds]), chosen)
    for row, view in enumerate(chosen.views(seen.chips)):
        seen.outlines[row] = shapely.to_wkb(shapely.intersection(ell, shapely.box(*view)))
    seen.boxes[:] = [shapely.from_wkb(outline).bounds for outline in seen.outlines]
    found = resolve(seen, SeamRules(chosen))
    assert [shapely.from_wkb(outline).equals(ell) for outline in found.outlines] == [True]


def test_what_only_a_neighbour_of_the_owner_saw_is_dropped_unless_asked_for() -> None:
    chosen = ChipViews(tile=10, padding=2, shape=(10, 30))
    seen = seen_by_chips(np.array([[6.5, 2, 7.5, 4]]), chosen)
    stranger = seen.taken(seen.chips[:, 1] == 0)
    assert len(stranger) == 1
    assert len(resolve(stranger, SeamRules(chosen))) == 0
    assert len(resolve(stranger, SeamRules(chosen, exclude_pad_detections=False))) == 1


def test_chips_beside_each_other_keep_objects_that_only_look_alike() -> None:
    # Two objects of one shape, one in each chip's own part: what both chips see holds neither.
    chosen = ChipViews(tile=10, padding=2, shape=(10, 30))
    boxes = np.array([[1.0, 1, 3, 3], [9, 1, 11, 3]])
    assert len(resolve(seen_by_chips(boxes, chosen), SeamRules(chosen))) == 2


@pytest.mark.parametrize("overlap", [-0.1, 1.5, float("nan")])
def test_an_overlap_that_is_no_share_is_refused(overlap: float) -> None:
    with pytest.raises(SettingError, match="use 0 to 1"):
        SeamRules(ChipViews(tile=8, padding=2, shape=(8, 8)), overlap)
