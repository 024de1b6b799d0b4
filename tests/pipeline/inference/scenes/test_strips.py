"""Pixels of neighbouring chips."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.inference.scenes import strips
from rasterloom.pipeline.inference.scenes.strips import Strips, pixels_of_blocks, runs_of_blocks
from rasterloom.pipeline.rasters.grid import Window

BLOCK = 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(strips, "BLOCK", BLOCK)


class Source:
    """An array that counts how often each pixel is read."""

    def __init__(self, height: int, width: int) -> None:
        generator = np.random.default_rng(height * width)
        self.pixels = generator.integers(1, 255, (2, height, width), dtype=np.uint8)
        self.valid = generator.random((height, width)) < 0.8
        self.reads = np.zeros((height, width), int)

    def __call__(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        assert window == window.clipped(self.valid.shape)
        self.reads[window.slices] += 1
        return self.pixels[:, *window.slices].copy(), self.valid[window.slices].copy()

    def plain(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        pixels = np.where(self.valid, self.pixels, 0)
        spare = 60
        rows = slice(window.row + spare, window.row_stop + spare)
        cols = slice(window.col + spare, window.col_stop + spare)
        padding = (spare, spare)
        return np.pad(pixels, ((0, 0), padding, padding))[:, rows, cols], np.pad(self.valid, spare)[
            rows, cols
        ]


windows = st.tuples(st.integers(-12, 45), st.integers(-12, 60), st.integers(1, 20), st.integers(1, 20))


@settings(deadline=None)
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 50)), chips=st.lists(windows, max_size=12))
def test_each_chip_is_what_the_raster_holds_there_and_no_pixel_is_read_twice(shape, chips):
    table = np.array(chips, np.int64).reshape(-1, 4)
    table = table[np.argsort(np.clip(table[:, 0], 0, shape[0] - 1) // BLOCK, kind="stable")]
    source = Source(*shape)
    reader = Strips(source, shape, table)
    for row in table.tolist():
        window = Window(*row)
        found = reader.chip(window)
        inside = window.clipped(shape)
        if not inside.height or not inside.width:
            assert found is None
            continue
        pixels, valid = source.plain(window)
        assert (found[0] == pixels).all()
        assert (found[1] == valid).all()
    assert source.reads.max(initial=0) <= 1
    assert source.reads.sum() == pixels_of_blocks(runs_of_blocks(table, shape), shape)


def test_only_blocks_that_chips_show_are_read():
    source = Source(40, 400)
    table = np.array([(1, 3, 4, 4), (2, 380, 4, 4)])
    reader = Strips(source, (40, 400), table)
    for row in table.tolist():
        reader.chip(Window(*row))
    assert Counter(source.reads.ravel().tolist())[1] == 2 * BLOCK * BLOCK


def test_rows_of_blocks_are_let_go_once_chips_begin_below():
    source = Source(400, 20)
    table = np.array([(row, 2, 10, 10) for row in range(0, 380, 4)])
    reader = Strips(source, (400, 20), table)
    for row in table.tolist():
        reader.chip(Window(*row))
        assert len(reader._held) <= 3
