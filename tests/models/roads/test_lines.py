import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.roads.lines import centre_lines

SIDE = 64


def band(degrees: float, width: float, *, across: float = 0.0) -> np.ndarray:
    """(row, column) of bool: a straight band through the chip, ``across`` pixels beside its middle."""
    rows, cols = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    return np.abs(beside(degrees, rows, cols) - across) <= width / 2


def beside(degrees: float, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """How far pixels lie to one side of a line through the middle."""
    radians = math.radians(degrees)
    return np.asarray(cols * math.sin(radians) + rows * math.cos(radians))


def turn(first: np.ndarray, second: float) -> np.ndarray:
    """Degrees between orientations, 0 to 90."""
    apart = np.abs(first - second) % 180
    return np.minimum(apart, 180 - apart)


def test_a_chip_without_a_body_has_no_lines():
    assert centre_lines(np.zeros((8, 8), int), np.zeros((8, 8), bool)) is None


@settings(deadline=None, max_examples=25)
@given(degrees=st.floats(0, 179.9), width=st.integers(3, 12))
def test_a_straight_band_has_its_angle_its_width_and_its_middle(degrees, width):
    body = band(degrees, width)
    found = centre_lines(body.astype(int), body)
    rows, cols = np.indices(body.shape) - (SIDE - 1) / 2
    within = np.hypot(rows, cols) < SIDE / 4  # away from where the band is thought to go on
    on = within & (found.distance <= width / 2)
    assert turn(found.angle[on], degrees).max() < 8
    assert found.certainty[on].min() > 0.9
    assert np.abs(found.half_width[on] - width / 2).max() <= 1.5
    assert np.abs(found.distance - np.abs(beside(degrees, rows, cols)))[within].max() <= 1.5


@pytest.mark.parametrize(("degrees", "edge"), [(0, np.s_[32, :]), (90, np.s_[:, 32])])
def test_a_line_does_not_end_before_the_chip_does(degrees, edge):
    found = centre_lines(band(degrees, 9).astype(int), band(degrees, 9))
    assert found.distance[edge].max() <= 1


def test_where_lines_cross_there_is_no_orientation_and_away_from_it_there_is():
    body = band(0, 5) | band(90, 5)
    found = centre_lines(body.astype(int), body)
    assert found.certainty[32, 32] < 0.2
    assert found.certainty[32, 10] > 0.9
    assert turn(found.angle[32, 10:12], 0.0).max() < 2
    assert turn(found.angle[10:12, 32], 90.0).max() < 2


def test_every_pixel_knows_the_label_of_the_nearest_line():
    upper, lower = band(0, 5, across=-16), band(0, 5, across=16)
    labels = np.where(upper, 4, np.where(lower, 9, 0))
    found = centre_lines(labels, upper | lower)
    assert (found.value[:30] == 4).all()
    assert (found.value[34:] == 9).all()


def test_a_chip_that_is_all_body_has_finite_lines():
    found = centre_lines(np.ones((16, 24), int), np.ones((16, 24), bool))
    assert all(np.isfinite(part).all() for part in (found.distance, found.angle, found.half_width))
    assert found.half_width.min() >= 0.5


def test_a_single_pixel_has_no_orientation():
    body = np.zeros((32, 32), bool)
    body[16, 16] = True
    assert centre_lines(body.astype(int), body).certainty[16, 16] == 0
