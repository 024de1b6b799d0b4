import json
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.rasters.statistics import BandStats, value_counts

seeds = st.integers(0, 2**32 - 1)


def some_pixels(seed, dtype="uint16", bands=3, pixels=200):
    generator = np.random.default_rng(seed)
    values = generator.uniform(0, 10_000, (bands, pixels)).astype(dtype)
    return values, generator.random(pixels) < 0.7


def close(stats, values):
    """Compare with NumPy over all values (band, pixel) at once."""
    values = values.astype(np.float64)
    assert stats.count == values.shape[1]
    assert stats.minimum == tuple(values.min(axis=1))
    assert stats.maximum == tuple(values.max(axis=1))
    np.testing.assert_allclose(stats.mean, values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(stats.std, values.std(axis=1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_statistics_of_one_block_are_numpys(dtype):
    values, valid = some_pixels(0, "float64")
    values = (values / 100).astype(dtype)
    close(BandStats.of(values, valid), values[:, valid])


def test_pixels_that_are_not_valid_do_not_count():
    values = np.array([[1.0, np.nan, 3.0]])
    assert BandStats.of(values, np.array([True, False, True])).mean == (2.0,)


@settings(max_examples=40)
@given(seed=seeds, cuts=st.lists(st.integers(0, 200), max_size=5), backwards=st.booleans())
def test_merging_in_any_grouping_equals_all_at_once(seed, cuts, backwards):
    values, valid = some_pixels(seed)
    edges = [0, *sorted(cuts), 200]
    parts = [BandStats.of(values[:, a:b], valid[a:b]) for a, b in pairwise(edges)]
    if backwards:
        merged = reduce(lambda done, part: part.merge(done), reversed(parts))
    else:
        merged = reduce(BandStats.merge, parts, BandStats.empty(3))
    if valid.any():
        close(merged, values[:, valid])


def test_merging_in_one_order_is_exact_to_the_bit():
    values, valid = some_pixels(3, "float32")
    parts = [BandStats.of(values[:, a : a + 20], valid[a : a + 20]) for a in range(0, 200, 20)]
    assert reduce(BandStats.merge, parts) == reduce(BandStats.merge, parts)


def test_a_large_offset_does_not_eat_the_deviation():
    values = np.array([[1e9 + 1, 1e9 + 2, 1e9 + 3, 1e9 + 4]])
    halves = [BandStats.of(values[:, part], np.ones(2, bool)) for part in (slice(0, 2), slice(2, 4))]
    assert halves[0].merge(halves[1]).std == pytest.approx((values.std(),))


@settings(max_examples=30)
@given(seed=seeds)
def test_json_keeps_every_bit(seed):
    stats = BandStats.of(*some_pixels(seed, "float32"))
    assert BandStats.from_json(json.loads(json.dumps(stats.to_json(), allow_nan=False))) == stats


def test_statistics_of_nothing_survive_strict_json_and_merge_as_nothing():
    nothing = BandStats.of(np.zeros((2, 4)), np.zeros(4, bool))
    assert nothing == BandStats.empty(2)
    assert nothing.std == (0.0, 0.0)
    assert BandStats.from_json(json.loads(json.dumps(nothing.to_json(), allow_nan=False))) == nothing
    something = BandStats.of(np.ones((2, 4)), np.ones(4, bool))
    assert nothing.merge(something) == something.merge(nothing) == something


@given(seeds, st.integers(0, 9), st.integers(0, 9), st.integers(1, 256), st.sampled_from(["uint8", "uint16"]))
def test_few_numbers_and_many_are_counted_alike(seed, height, width, below, dtype):
    values = np.random.default_rng(seed).integers(0, below, (height, width)).astype(dtype)
    counts = value_counts(values)
    assert counts.sum() == values.size
    assert all(counts[value] == np.count_nonzero(values == value) for value in range(len(counts)))
    assert len(counts) == values.max(initial=0) + 1 or not values.size
