"""The warped lattice under parcels and roads."""

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.landscape.mesh import CELLS, mesh

blocks = st.integers(-40, 40)


@settings(max_examples=15, deadline=None)
@given(row=blocks, col=blocks, seed=st.integers(0, 2**40))
def test_neighbouring_blocks_compute_the_same_common_edges(row, col, seed):
    here = mesh(seed, row * CELLS, col * CELLS, CELLS)
    east = mesh(seed, row * CELLS, (col + 1) * CELLS, CELLS)
    south = mesh(seed, (row + 1) * CELLS, col * CELLS, CELLS)
    assert np.array_equal(here.down[:, -1], east.down[:, 0])
    assert np.array_equal(here.across[-1], south.across[0])


def test_a_smaller_window_has_the_edges_of_a_larger_one():
    large, small = mesh(9, 0, 0, CELLS), mesh(9, 2, 3, 2)
    assert np.array_equal(small.across, large.across[2:5, 3:5])
    assert np.array_equal(small.down, large.down[2:4, 3:6])


def test_edges_meet_at_the_nodes():
    net = mesh(1, 0, 0, CELLS)
    assert np.array_equal(net.across[:-1, :, 0], net.down[:, :-1, 0])
    assert np.array_equal(net.across[1:, :, -1], net.down[:, 1:, -1])
