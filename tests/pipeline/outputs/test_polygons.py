"""Patches travel as files, and walks are followed to their ends."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.outputs.polygons import Patch, followed, ragged
from rasterloom.pipeline.outputs.polygons_trace import trace
from rasterloom.pipeline.rasters.grid import Window
from tests.support.polygons import class_rasters


@settings(deadline=None)
@given(steps=st.permutations(range(8)), cuts=st.sets(st.integers(0, 7)))
def test_every_walk_is_followed_once_from_its_first_link_to_its_last(
    steps: list[int], cuts: set[int]
) -> None:
    after = np.array([-1 if link in cuts else step for link, step in enumerate(steps)])
    order, starts, opened = followed(after)
    assert sorted(order.tolist()) == list(range(8))
    for number, (begin, end) in enumerate(pairwise(starts)):
        walk = order[begin:end].tolist()
        assert [after[link] for link in walk[:-1]] == walk[1:]
        assert after[walk[-1]] == (-1 if number < opened else walk[0])
    assert opened == len(cuts)


def test_stretches_are_laid_end_to_end() -> None:
    assert ragged(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert not len(ragged(np.array([], int), np.array([], int)))


@settings(deadline=None, max_examples=20)
@given(pixels=class_rasters())
def test_a_patch_comes_back_from_its_file_as_it_was(pixels: np.ndarray) -> None:
    height, width = pixels.shape
    patch = trace(pixels, pixels > 0, Window(3, 4, height, width), (height + 9, width + 9))
    again = Patch.from_bytes(patch.to_bytes())
    assert again.to_bytes() == patch.to_bytes()
    assert again.window == patch.window
    assert again.shape == patch.shape
    assert again.faces.values.tolist() == patch.faces.values.tolist()
