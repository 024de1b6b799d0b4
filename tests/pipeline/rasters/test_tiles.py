import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.tiles import iter_windows, plan_tiles, stride_of

sides = st.integers(0, 60)


@st.composite
def tilings(draw):
    padding = draw(st.integers(0, 8))
    return draw(st.integers(2 * padding + 1, 2 * padding + 20)), padding


@settings(max_examples=60)
@given(shape=st.tuples(sides, sides), tiling=tilings())
def test_every_pixel_is_kept_by_exactly_one_tile(shape, tiling):
    tile, padding = tiling
    kept = np.zeros(shape, int)
    for planned in plan_tiles(shape, tile=tile, padding=padding):
        kept[planned.keep] += 1
    assert (kept == 1).all()


@settings(max_examples=60)
@given(shape=st.tuples(sides, sides), tiling=tilings())
def test_a_tile_sees_what_it_keeps_and_the_padding_around_it(shape, tiling):
    tile, padding = tiling
    for planned in plan_tiles(shape, tile=tile, padding=padding):
        rows, cols = planned.keep
        assert (planned.read.height, planned.read.width) == (tile, tile)
        assert (planned.read.row + padding, planned.read.col + padding) == (rows.start, cols.start)
        assert rows.stop <= planned.read.row_stop - padding
        assert cols.stop <= planned.read.col_stop - padding


def test_tiles_stand_in_row_major_order_and_an_empty_raster_has_none():
    starts = [(tile.keep[0].start, tile.keep[1].start) for tile in plan_tiles((50, 70), tile=16, padding=3)]
    assert starts == sorted(starts)
    assert plan_tiles((0, 50), tile=16) == []


@pytest.mark.parametrize(
    ("tile", "padding", "most"), [(512, 256, 255), (5, 3, 2), (1, 1, 0), (256, 128, 127)]
)
def test_padding_that_leaves_nothing_is_refused(tile, padding, most):
    with pytest.raises(SettingError, match=f"use {most} or less"):
        plan_tiles((100, 100), tile=tile, padding=padding)
    assert stride_of(tile, most) >= 1


@pytest.mark.parametrize(
    ("tile", "padding", "words"),
    [(0, 0, "positive number"), (-3, 0, "positive number"), (8, -1, "0 or more")],
)
def test_numbers_out_of_range_are_refused(tile, padding, words):
    with pytest.raises(SettingError, match=words):
        plan_tiles((100, 100), tile=tile, padding=padding)


@settings(max_examples=40)
@given(shape=st.tuples(sides, sides), size=st.integers(1, 30))
def test_windows_cover_every_pixel_once_in_row_major_order(shape, size):
    windows = list(iter_windows(shape, size))
    seen = np.zeros(shape, int)
    for window in windows:
        seen[window.slices] += 1
        assert 0 < window.height <= size
        assert 0 < window.width <= size
    assert (seen == 1).all()
    assert [(w.row, w.col) for w in windows] == sorted((w.row, w.col) for w in windows)
