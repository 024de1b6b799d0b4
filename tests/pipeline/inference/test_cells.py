"""Cells own every pixel once, whatever their size, and see the same chips."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.cells import MOST_BATCHES, CellBlock, CellGrid
from rasterloom.pipeline.inference.sizing import cut_cells
from rasterloom.pipeline.rasters.grid import Window

sides = st.integers(1, 90)


@st.composite
def grids(draw: st.DrawFn) -> CellGrid:
    height, width = draw(sides), draw(sides)
    row, col = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    extent = Window(row, col, draw(st.integers(1, height - row)), draw(st.integers(1, width - col)))
    tile = draw(st.integers(1, 20))
    padding = draw(st.integers(0, (tile - 1) // 2))
    return cut_cells((height, width), extent, tile=tile, padding=padding, cell_size=draw(st.integers(1, 60)))


@given(grid=grids())
@settings(max_examples=60, deadline=None)
def test_every_pixel_of_the_extent_is_owned_by_exactly_one_cell(grid: CellGrid) -> None:
    owned = np.zeros(grid.shape, int)
    for batch in grid.batches():
        for row, col in batch.positions():
            owned[grid.window(row, col).slices] += 1
    assert (owned[grid.extent.slices] == 1).all()
    assert owned.sum() == grid.extent.height * grid.extent.width


@given(grid=grids())
@settings(max_examples=60, deadline=None)
def test_the_chips_of_a_cell_keep_all_its_pixels(grid: CellGrid) -> None:
    for row, col in grid.whole.positions():
        window = grid.window(row, col)
        chips = grid.chip_span(window)
        seen = grid.read_window(chips)
        assert seen.row + grid.padding <= window.row
        assert seen.row_stop - grid.padding >= window.row_stop
        assert seen.col + grid.padding <= window.col
        assert seen.col_stop - grid.padding >= window.col_stop
        assert seen.row + grid.padding == chips.row * grid.stride


@given(row=st.integers(0, 9), col=st.integers(0, 9), rows=st.integers(1, 9), cols=st.integers(1, 9))
def test_halves_own_what_the_block_owned(row: int, col: int, rows: int, cols: int) -> None:
    block = CellBlock(row, col, rows, cols)
    halves = block.halves()
    if halves is None:
        assert block.cells == 1
        return
    assert sorted([*halves[0].cell_ids(), *halves[1].cell_ids()]) == sorted(block.cell_ids())
    assert len({block.id, halves[0].id, halves[1].id}) == 3


@given(grid=grids())
@settings(max_examples=40, deadline=None)
def test_the_number_of_batches_is_known_without_making_them(grid: CellGrid) -> None:
    batches = list(grid.batches())
    assert len(batches) == grid.batch_count
    assert sum(batch.cells for batch in batches) == grid.whole.cells


def test_a_million_cells_make_no_more_batches_than_the_scheduler_likes() -> None:
    grid = cut_cells((1_000_000, 1_000_000), Window(0, 0, 1_000_000, 1_000_000), tile=512, padding=6)
    assert grid.whole.cells > 400_000
    assert grid.batch_count <= 1.1 * MOST_BATCHES
    assert next(iter(grid.batches())).cells > 1


def test_a_cell_size_of_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="cell_size=0 cannot work"):
        cut_cells((10, 10), Window(0, 0, 10, 10), tile=4, padding=1, cell_size=0)
