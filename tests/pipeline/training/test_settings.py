"""Rates of layers."""

from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.training.settings import spread_rates


@settings(max_examples=30)
@given(first=st.floats(1e-7, 1e-2), last=st.floats(1e-7, 1e-2), groups=st.integers(2, 6))
def test_a_slice_is_spread_geometrically(first, last, groups):
    rates = spread_rates(slice(first, last), groups)
    assert rates[0] == pytest.approx(first)
    assert rates[-1] == pytest.approx(last)
    ratios = [b / a for a, b in pairwise(rates)]
    assert ratios == pytest.approx([ratios[0]] * (groups - 1))


@pytest.mark.parametrize(
    ("lr", "groups", "rates"),
    [
        (0.01, 3, [0.01, 0.01, 0.01]),
        (slice(0.01), 3, [0.001, 0.001, 0.01]),
        (slice(0.001, 0.01), 1, [0.01]),
    ],
)
def test_one_number_and_half_a_slice(lr, groups, rates):
    assert spread_rates(lr, groups) == pytest.approx(rates)
