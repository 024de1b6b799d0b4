import numpy as np
import pytest

from rasterloom.pipeline.chips.tally import BandTally
from rasterloom.pipeline.rasters.statistics import BandStats


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32"])
@pytest.mark.parametrize("width", [30, 31])
def test_a_tally_agrees_with_statistics_of_all_pixels_at_once(dtype, width):
    generator = np.random.default_rng(0)
    pixels = generator.integers(-100 if dtype[0] in "if" else 0, 120, (5, 3, 20, width)).astype(dtype)
    valid = generator.random((5, 20, width)) > 0.3
    valid[1], valid[2] = False, True
    tally = BandTally(3, dtype)
    pixels = np.where(valid[:, None], pixels, 0).astype(dtype)
    for some in (slice(0, 2), slice(2, 3), slice(3, 5)):
        tally.add(pixels[some], valid[some])
    found, expected = tally.stats(), BandStats.of(pixels.swapaxes(0, 1), valid)
    assert (found.count, found.minimum, found.maximum) == (expected.count, expected.minimum, expected.maximum)
    assert np.allclose(found.mean, expected.mean)
    assert np.allclose(found.m2, expected.m2)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_tally_of_nothing_is_empty(dtype):
    tally = BandTally(2, dtype)
    tally.add(np.zeros((1, 2, 4, 4), dtype), np.zeros((1, 4, 4), bool))
    assert tally.stats() == BandStats.empty(2)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_sums_of_the_largest_numbers_are_exact(dtype):
    most = np.iinfo(dtype)
    side = 300  # more pixels than are summed at once
    for value in (int(most.min), int(most.max)):
        tally = BandTally(1, dtype)
        tally.add(np.full((2, 1, side, side), value, dtype), np.ones((2, side, side), bool))
        assert tally.stats() == BandStats(2 * side**2, (value,), (value,), (value,), (0.0,))
