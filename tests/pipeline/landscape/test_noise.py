"""Smooth noise from hashed lattices."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.landscape.hashing import Purpose
from rasterloom.pipeline.landscape.noise import LIMIT, noise_points, noise_window


@settings(max_examples=20, deadline=None)
@given(start=st.integers(-5000, 5000), wavelength=st.floats(2.0, 900.0))
def test_a_window_holds_what_its_points_have(start, wavelength):
    y, x = start + np.arange(9) + 0.5, 2 * start + np.arange(13) + 0.5
    window = noise_window(3, Purpose.RELIEF, y, x, wavelength)
    points = noise_points(3, Purpose.RELIEF, *np.meshgrid(y, x, indexing="ij"), wavelength)
    np.testing.assert_allclose(window, points, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(shift=st.integers(1, 40), wavelength=st.floats(2.0, 300.0))
def test_two_windows_agree_to_the_last_bit_where_they_overlap(shift, wavelength):
    side = np.arange(64) + 0.5
    first = noise_window(3, Purpose.MOTTLE, side, side, wavelength)
    second = noise_window(3, Purpose.MOTTLE, side + shift, side + shift, wavelength)
    assert np.array_equal(first[shift:, shift:], second[:-shift, :-shift])


@pytest.mark.parametrize("wavelength", [4.0, 17.0])
def test_noise_has_deviation_one_and_stays_within_its_limit(wavelength):
    side = np.arange(1500) + 0.5
    values = noise_window(8, Purpose.GRAIN, side, side, wavelength)
    assert abs(values.std() - 1.0) < 0.05
    assert np.abs(values).max() <= LIMIT
    assert np.abs(np.diff(values, axis=0)).max() < 4.0 / wavelength * 2
