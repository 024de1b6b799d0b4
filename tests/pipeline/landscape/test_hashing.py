"""Random numbers by place."""

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.landscape.hashing import Purpose, generator, lattice

places = st.integers(-(2**20), 2**20)


@settings(max_examples=20, deadline=None)
@given(row=places, col=places, seed=st.integers(0, 2**63 - 1))
def test_the_same_place_gives_the_same_numbers_and_its_neighbours_give_others(row, col, seed):
    def draw(row, col, purpose=Purpose.LAKES):
        return generator(seed, purpose, row, col).random(4).tolist()

    assert draw(row, col) == draw(row, col)
    others = [draw(row + 1, col), draw(row, col + 1), draw(row, col, Purpose.WOODS)]
    assert draw(row, col) not in others


@settings(max_examples=20, deadline=None)
@given(row=places, col=places)
def test_a_lattice_value_does_not_depend_on_the_window_that_it_is_read_through(row, col):
    rows, cols = np.arange(row - 3, row + 4), np.arange(col - 2, col + 5)
    window = lattice(5, Purpose.RELIEF, rows[:, None], cols[None, :])
    assert window[3, 2] == lattice(5, Purpose.RELIEF, np.array([row]), np.array([col]))[0]


def test_lattice_values_are_spread_evenly_over_minus_one_to_one():
    side = np.arange(300)
    values = lattice(1, Purpose.GRAIN, side[:, None], side[None, :])
    assert values.min() >= -1.0
    assert values.max() < 1.0
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 3**-0.5) < 0.01
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.02
