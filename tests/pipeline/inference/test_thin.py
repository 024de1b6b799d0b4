"""What is found becomes lines."""

import numpy as np

from rasterloom.pipeline.inference.thin import REACH, ROUNDS, thinned


def test_a_broad_stroke_becomes_one_pixel_wide_and_keeps_its_way() -> None:
    index = np.zeros((80, 200), np.uint8)
    index[20:50, 10:190] = 1
    found = thinned(index, background=0, nothing=2)
    assert (found[:, 40:160].sum(axis=0) == 1).all()
    assert set(np.unique(found)) == {0, 1}


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
