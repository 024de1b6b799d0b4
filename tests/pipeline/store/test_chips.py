from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.store.chips import ChipBlock, LabelStats, Summary
from rasterloom.pipeline.store.kinds import KINDS
from tests.support.stores import assert_same, make_block, make_spec


@pytest.mark.parametrize("metadata_format", KINDS)
def test_joined_parts_are_the_whole(metadata_format):
    spec = make_spec(9, metadata_format=metadata_format, bands2=1)
    whole = make_block(spec, 0, 9)
    assert_same(ChipBlock.joined([make_block(spec, 0, 4), make_block(spec, 4, 9)]), whole)
    assert_same(ChipBlock.joined([whole.of(range(6)), whole.of([6, 7, -1])]), whole)


@settings(max_examples=20, deadline=None)
@given(indices=st.lists(st.integers(-9, 8), max_size=10))
def test_chosen_chips_are_what_they_were(indices):
    spec = make_spec(9, metadata_format="Panoptic_Segmentation")
    chosen = make_block(spec, 0, 9).of(indices)
    assert len(chosen) == len(indices)
    for place, index in enumerate(indices):
        assert_same(chosen.of([place]), make_block(spec, index % 9, index % 9 + 1))


def test_sizes_are_filled_in_where_only_some_parts_have_them():
    spec = make_spec(4)
    cropped = replace(make_block(spec, 2, 4), sizes=np.array([[5, 6], [7, 8]]))
    joined = ChipBlock.joined([make_block(spec, 0, 2), cropped])
    assert joined.sizes.tolist() == [[16, 24], [16, 24], [5, 6], [7, 8]]


def test_the_range_of_no_numbers_is_none():
    assert Summary.of([]).to_json() == [0, None, None, 0.0]
    assert Summary.from_json([0, None, None, 0.0]) == Summary()
    assert Summary().mean == 0


@given(first=st.lists(st.integers(-9, 9)), second=st.lists(st.integers(-9, 9)))
def test_a_merged_summary_is_that_of_all_numbers(first, second):
    assert Summary.of(first).merge(Summary.of(second)) == Summary.of(first + second)


def test_merging_keeps_classes_in_ascending_order():
    merged = LabelStats(1, {9: Summary.of([1])}, {}, {9: 1}).merge(
        LabelStats(1, {2: Summary.of([3])}, {}, {2: 1})
    )
    assert list(merged.pixels) == list(merged.images) == [2, 9]
    assert merged.class_pixels == {2: 3, 9: 1}
