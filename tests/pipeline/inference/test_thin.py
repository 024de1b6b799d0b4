"""What is found becomes lines."""

import numpy as np
from hypothesis import given, settings, strategies as st
from skimage.morphology import thin

from rasterloom.pipeline.inference.thin import REACH, ROUNDS, thinned


def test_a_broad_stroke_becomes_one_pixel_wide_and_keeps_its_way() -> None:
    index = np.zeros((80, 200), np.uint8)
    index[20:50, 10:190] = 1
    found = thinned(index, background=0, nothing=2)
    assert (found[:, 40:160].sum(axis=0) == 1).all()
    assert set(np.unique(found)) == {0, 1}


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)), seed=st.integers(0, 99), broad=st.integers(1, 9)
)
@settings(max_examples=25, deadline=None)
def test_what_is_left_is_what_skimage_leaves(shape: tuple[int, int], seed: int, broad: int) -> None:
    blocks = shape[0] // broad + 1, shape[1] // broad + 1
    coarse = np.random.default_rng(seed).integers(0, 3, blocks, np.uint8)
    index = np.kron(coarse, np.ones((broad, broad), np.uint8))[: shape[0], : shape[1]]
    left = thin(index == 1, max_num_iter=ROUNDS)
    expected = np.where((index == 1) & ~left, 0, index)
    found = thinned(index, background=0, nothing=2)
    assert np.array_equal(found, expected)
    assert found.dtype == index.dtype


def test_bodies_too_broad_for_the_rounds_stay_broad_and_the_same_in_any_part() -> None:
    index = np.zeros((300, 400), np.uint8)
    index[50:250, 20:380] = 1
    whole = thinned(index, background=0, nothing=2)
    assert (whole[:, 200] == 1).sum() == 200 - 2 * ROUNDS
    part = thinned(index[:, 100:], background=0, nothing=2)
    assert np.array_equal(part[:, REACH:], whole[:, 100 + REACH :])


def test_pixels_that_hold_nothing_stay_so() -> None:
    index = np.ones((30, 30), np.uint8)
    index[:, 20:] = 2
    found = thinned(index, background=0, nothing=2)
    assert (found[:, 20:] == 2).all()
    assert (found[:, :20] != 2).all()


def test_a_pixel_knows_nothing_beyond_its_reach() -> None:
    rng = np.random.default_rng(0)
    blobs = np.kron(rng.random((8, 8)) < 0.7, np.ones((40, 40), bool)).astype(np.uint8)
    whole = thinned(blobs, background=0, nothing=2)
    part = thinned(blobs[30:290, 30:290], background=0, nothing=2)
    assert REACH == 2 * ROUNDS
    inner = slice(REACH, 260 - REACH)
    assert np.array_equal(part[inner, inner], whole[30:290, 30:290][inner, inner])
