"""What lies beyond a raster is its mirror image, whatever window asks."""

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.mirror import Mirror


@given(
    shape=st.tuples(st.integers(2, 30), st.integers(2, 30)),
    corner=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
@settings(max_examples=100, deadline=None)
def test_a_window_is_cut_from_the_whole_raster_mirrored(
    shape: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> None:
    raster = np.arange(shape[0] * shape[1]).reshape(1, *shape)
    mirror = Mirror(Window(*corner, *size), shape)
    whole = np.pad(raster, ((0, 0), (100, 100), (100, 100)), mode="reflect")
    wanted = whole[:, 100 + corner[0] :, 100 + corner[1] :][:, : size[0], : size[1]]
    assert np.array_equal(mirror.fill(raster[:, *mirror.needed.slices]), wanted)
