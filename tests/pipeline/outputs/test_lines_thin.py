"""Thinning is that of the library, and can be done in parts."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import ndimage
from skimage.morphology import thin

from rasterloom.pipeline.outputs.lines_thin import REACH, thin_passes
from tests.support.lines import bodies


@settings(deadline=None)
@given(body=bodies(), passes=st.sampled_from([1, 2, 5, 100]))
def test_thinning_is_that_of_scikit_image(body: np.ndarray, passes: int) -> None:
    left, taken = thin_passes(body, passes)
    assert (left == thin(body, max_num_iter=passes)).all()
    before = thin(body, max_num_iter=passes - 1) if passes > 1 else body
    lost = {tuple(place) for place in np.argwhere(before & ~left).tolist()}
    assert {tuple(place) for place in taken.tolist()} == (lost if passes < 100 else set())


@settings(deadline=None)
@given(body=bodies(), cut=st.tuples(st.integers(0, 47), st.integers(0, 47)), passes=st.integers(1, 4))
def test_what_is_far_from_an_edge_does_not_depend_on_it(
    body: np.ndarray, cut: tuple[int, int], passes: int
) -> None:
    row, col = cut[0] % body.shape[0], cut[1] % body.shape[1]
    whole, part = thin_passes(body, passes)[0], thin_passes(body[row:, col:], passes)[0]
    margin = REACH * passes
    far = slice(margin if row else 0, None), slice(margin if col else 0, None)
    assert (part[far] == whole[row:, col:][far]).all()


@settings(deadline=None)
@given(body=bodies())
def test_each_body_becomes_one_line_with_as_many_holes(body: np.ndarray) -> None:
    left, taken = thin_passes(body, 100)
    assert not len(taken)
    eight = np.ones((3, 3))
    assert ndimage.label(left, eight)[1] == ndimage.label(body, eight)[1]
    assert ndimage.label(~np.pad(left, 1))[1] == ndimage.label(~np.pad(body, 1))[1]


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (1, 1)])
def test_nothing_is_thinned_to_nothing(shape: tuple[int, int]) -> None:
    left, taken = thin_passes(np.zeros(shape, bool), 3)
    assert left.shape == shape
    assert not left.any()
    assert not len(taken)
