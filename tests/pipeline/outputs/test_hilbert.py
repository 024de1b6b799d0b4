"""The curve passes every cell once, and steps to a neighbour each time."""

import numpy as np

from rasterloom.pipeline.outputs.hilbert import LEVELS, NOWHERE, curve_places, hilbert_places


def _plain(x: int, y: int, levels: int) -> int:
    """Bit by bit: the quadrant's number, then the quadrant turned as the curve lies in it."""
    place = 0
    for level in range(levels - 1, -1, -1):
        side = 1 << level
        right, up = int(bool(x & side)), int(bool(y & side))
        place = place * 4 + ((3 * right) ^ up)
        x, y = x & (side - 1), y & (side - 1)
        if not up:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
    return place


def test_places_are_those_of_the_plain_algorithm() -> None:
    xy = np.random.default_rng(0).integers(0, 2**LEVELS, (500, 2), np.uint64)
    plain = [_plain(int(x), int(y), LEVELS) for x, y in xy]
    assert curve_places(xy[:, 0], xy[:, 1]).tolist() == plain


def test_the_curve_passes_each_cell_once_and_steps_to_a_neighbour() -> None:
    columns, rows = np.meshgrid(np.arange(32), np.arange(32))
    points = np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5
    places = hilbert_places(points, (0, 0, 32, 32)) >> np.uint64(2 * (LEVELS - 5))
    assert sorted(places.tolist()) == list(range(32 * 32))
    assert (np.abs(np.diff(points[np.argsort(places)], axis=0)).sum(axis=1) == 1).all()


def test_points_outside_of_the_box_count_on_its_side_and_nan_at_the_end() -> None:
    points = np.array([[-5, 0.5], [0, 0.5], [9, 2], [1, 1], [np.nan, 0]])
    places = hilbert_places(points, (0, 0, 1, 1))
    assert places[0] == places[1]
    assert places[2] == places[3]
    assert places[4] == NOWHERE


def test_a_box_without_width_is_fine() -> None:
    places = hilbert_places(np.array([[3.0, 0.0], [3.0, 1.0]]), (3, 0, 3, 1))
    assert places[0] < places[1]
