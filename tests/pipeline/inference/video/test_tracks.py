import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.video.tracks import Tracker, TrackerOptions, _overlaps

EAGER = TrackerOptions(detect_frames=1, vanish_frames=5)


def follow(tracker, frames, label=1):
    return [
        tracker.update(np.array(boxes).reshape(-1, 4), np.full(len(boxes), label)).tolist()
        for boxes in frames
    ]


def moving(x, y, dx, dy, count, side=20):
    return [(x + k * dx, y + k * dy, x + k * dx + side, y + k * dy + side) for k in range(count)]


def test_an_object_keeps_its_track_while_it_moves():
    assert follow(Tracker(EAGER), [[box] for box in moving(0, 0, 6, 3, 30)]) == [[1]] * 30


def test_an_object_is_tracked_once_it_was_found_in_so_many_frames():
    tracker = Tracker(TrackerOptions(detect_frames=4))
    assert follow(tracker, [[box] for box in moving(0, 0, 2, 0, 6)]) == [[0]] * 3 + [[1]] * 3


def test_objects_that_cross_keep_their_tracks():
    # as they pass each other the boxes overlap: where each was going tells them apart
    left, right = moving(0, 0, 8, 0, 40), moving(312, 8, -8, 0, 40)
    found = follow(Tracker(EAGER), [list(pair) for pair in zip(left, right, strict=True)])
    assert found == [[1, 2]] * 40


def test_an_object_that_was_hidden_is_found_again_where_it_should_be():
    boxes = moving(0, 0, 5, 0, 30, side=30)
    frames = [[] if 12 <= k < 16 else [box] for k, box in enumerate(boxes)]
    found = follow(Tracker(EAGER), frames)
    assert found[16:] == [[1]] * 14


@pytest.mark.parametrize(("absent", "track"), [(4, 1), (5, 2)])
def test_an_object_that_was_absent_for_so_many_frames_has_vanished(absent, track):
    box = (0, 0, 10, 10)
    assert follow(Tracker(EAGER), [[box]] * 3 + [[]] * absent + [[box]])[-1] == [track]


def test_a_track_keeps_its_class():
    tracker = Tracker(EAGER)
    box = np.array([[0, 0, 10, 10]])
    assert [tracker.update(box, np.array([label]))[0] for label in (1, 2, 1, 2)] == [1, 2, 1, 2]


def test_boxes_that_overlap_too_little_are_other_objects():
    tracker = Tracker(TrackerOptions(assignment_iou_thrd=0.5, detect_frames=1))
    assert follow(tracker, [[(0, 0, 10, 10)], [(4, 0, 14, 10)]]) == [[1], [2]]
    tracker = Tracker(TrackerOptions(assignment_iou_thrd=0.4, detect_frames=1))
    assert follow(tracker, [[(0, 0, 10, 10)], [(4, 0, 14, 10)]]) == [[1], [1]]


def test_with_a_threshold_of_nothing_boxes_must_still_touch():
    tracker = Tracker(TrackerOptions(assignment_iou_thrd=0, detect_frames=1))
    assert follow(tracker, [[(0, 0, 10, 10)], [(50, 50, 60, 60)]]) == [[1], [2]]


boxes = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 12)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@settings(max_examples=60)
@given(st.lists(boxes, max_size=4), st.lists(boxes, max_size=4))
def test_boxes_are_given_to_tracks_so_that_the_sum_of_overlaps_is_largest(first, second):
    tracker = Tracker(TrackerOptions(assignment_iou_thrd=0, detect_frames=1))
    before, after = follow(tracker, [first, second])
    overlaps = _overlaps(np.array(first, float).reshape(-1, 4), np.array(second, float).reshape(-1, 4))
    got = sum(overlaps[before.index(t), k] for k, t in enumerate(after) if t in before)
    few, many = sorted((len(first), len(second)))
    table = overlaps if len(first) <= len(second) else overlaps.T
    best = max(
        sum(table[row, col] for row, col in enumerate(order))
        for order in itertools.permutations(range(many), few)
    )
    assert got == pytest.approx(best)


def test_overlaps_are_shares_of_the_union():
    first, second = np.array([[0, 0, 2, 2], [5, 5, 6, 6.0]]), np.array([[1, 0, 3, 2.0]])
    assert _overlaps(first, second).tolist() == [[pytest.approx(1 / 3)], [0]]


def test_vanished_tracks_take_no_memory():
    tracker = Tracker(EAGER)
    for k in range(300):
        tracker.update(np.array([[100 * k, 0, 100 * k + 10, 10]]), np.array([1]))
    assert len(tracker) == EAGER.vanish_frames
    assert tracker.known == 300


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"detect_frame": 3}, "knows assignment_iou_thrd, detect_frames, vanish_frames"),
        ({"detect_frames": 0}, "detect_frames=0 cannot work"),
        ({"vanish_frames": 2.5}, "vanish_frames=2.5 cannot work"),
        ({"assignment_iou_thrd": 1.5}, "from 0 to 1"),
        ({"assignment_iou_thrd": float("nan")}, "from 0 to 1"),
    ],
)
def test_options_that_cannot_work_are_refused(options, told):
    with pytest.raises(SettingError, match=told):
        TrackerOptions.read(options)


def test_options_that_are_not_named_stay_as_they_are():
    assert TrackerOptions.read({"vanish_frames": 7}) == TrackerOptions(vanish_frames=7)
    assert TrackerOptions.read(None) == TrackerOptions(
        assignment_iou_thrd=0.3, detect_frames=10, vanish_frames=40
    )
