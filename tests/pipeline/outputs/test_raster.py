"""What is said about an output is exact, or not said."""

import pickle

import numpy as np
import pytest
from hypothesis import given, strategies as st

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.outputs.raster import BandStatistics, OutputRaster
from rasterloom.pipeline.rasters.grid import Grid, read_crs

GRID = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 30, 20)
levels = st.lists(st.integers(0, 254), min_size=1, max_size=60)


@given(values=levels, times=st.integers(1, 10**12))
def test_statistics_from_sums_are_those_of_the_pixels(values: list[int], times: int) -> None:
    array = np.array(values, float)
    found = BandStatistics.of_sums(
        times * len(values),
        min(values),
        max(values),
        times * sum(values),
        times * sum(value**2 for value in values),
    )
    assert found is not None
    assert (found.minimum, found.maximum) == (array.min(), array.max())
    assert found.mean == pytest.approx(array.mean(), rel=1e-12)
    assert found.stddev == pytest.approx(array.std(), rel=1e-6, abs=1e-9)


@given(values=levels)
def test_statistics_from_counts_are_those_of_the_pixels(values: list[int]) -> None:
    counted = {value: values.count(value) for value in set(values)} | {255: 0}
    found = BandStatistics.of_counts(counted)
    assert found is not None
    assert (found.minimum, found.maximum) == (min(values), max(values))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert found.stddev == pytest.approx(np.std(values), rel=1e-6, abs=1e-9)


def test_of_no_pixels_nothing_is_said() -> None:
    assert BandStatistics.of_counts({}) is None
    assert BandStatistics.of_counts({3: 0}) is None
    assert BandStatistics.of_sums(0, 0, 0) is None
    assert BandStatistics.of_sums(2, 0.25, 0.5) == BandStatistics(0.25, 0.5)


def test_a_description_travels_to_workers() -> None:
    what = OutputRaster.class_map(GRID, "uint8", 255, (ClassInfo(1, "Field", (1, 2, 3)),), {1: 3})
    assert pickle.loads(pickle.dumps(what)) == what
    assert what.is_class_map
    assert not OutputRaster.probabilities(GRID, "uint8", what.classes).is_class_map


def test_a_description_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(SettingError, match="2 entries for 1 bands"):
        OutputRaster(GRID, "uint8", 255, ("a",), statistics=(None, None))
    with pytest.raises(SettingError, match="bands is empty"):
        OutputRaster(GRID, "uint8", 255, ())
