"""Run lengths are those of the COCO API."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as api

from rasterloom.pipeline.formats.rle import from_text, run_lengths, to_mask, to_text

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(mask=MASKS)
def test_the_text_is_the_one_of_the_api(mask: np.ndarray) -> None:
    ours = to_text(run_lengths(mask))
    theirs = api.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert ours == theirs["counts"].decode()
    np.testing.assert_array_equal(to_mask(from_text(ours), mask.shape), mask)


@given(lengths=st.lists(st.integers(0, 10**7), min_size=1, max_size=20))
def test_long_runs_survive(lengths: list[int]) -> None:
    assert from_text(to_text(lengths)) == lengths


@pytest.mark.parametrize("text", ["~~", "P", "é"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|sign"):
        from_text(text)


def test_lengths_that_miss_the_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="4 x 4"):
        to_mask([3, 4], (4, 4))
