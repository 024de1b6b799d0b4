"""Counting pairs of class values."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.reports.counting import SIDE, CountPlan, count_pairs
from tests.support.rasters import write_pixels


@settings(max_examples=30, deadline=None)
@given(
    most=st.sampled_from([0, 3, 255, 300, 65_535]),
    data=st.data(),
    shape=st.tuples(st.integers(0, 5), st.integers(1, 5)),
)
def test_pairs_are_counted_as_one_by_one(most: int, data: st.DataObject, shape: tuple[int, int]) -> None:
    values = arrays(np.uint16, shape, elements=st.integers(0, most))
    truth, given_ = data.draw(values), data.draw(values)
    naive = Counter(zip(truth.ravel().tolist(), given_.ravel().tolist(), strict=True))
    pairs = count_pairs(truth, given_)
    counted = {(t, g): n for t, g, n in pairs.T.tolist()}
    assert counted == dict(naive)


@pytest.mark.parametrize(
    "window", [Window(0, 0, 5000, 3000), Window(7, 3, SIDE, SIDE), Window(10, 0, 1, 2900)]
)
def test_batches_cover_the_window_once(window: Window, tmp_path: Path) -> None:
    raster = describe(write_pixels(tmp_path / "map.tif", np.ones((1, 64, 64), "uint8")))
    plan = CountPlan(raster, window, None, "", str(tmp_path))
    covered = np.zeros((5020, 3020), int)
    batches = list(plan.batches())
    for batch in batches:
        covered[batch.window.slices] += 1
    assert (covered[window.slices] == 1).all()
    assert covered.sum() == window.height * window.width
    assert len(batches) == plan.batch_count == len({batch.id for batch in batches})
