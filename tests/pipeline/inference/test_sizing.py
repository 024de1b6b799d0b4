"""Cells that are chosen waste few chips and hold little at once."""

import pytest

from rasterloom.pipeline.inference.cells import CellGrid
from rasterloom.pipeline.inference.sizing import CELL_BYTES, MOST_SIDE, chip_counts, cut_cells
from rasterloom.pipeline.rasters.grid import Window


def _cut(side: int, **settings: int) -> CellGrid:
    given = {"tile": 256, "padding": 32, "batch_size": 8} | settings
    return cut_cells((side, side), Window(0, 0, side, side), **given)


@pytest.mark.parametrize(("side", "waste"), [(4096, 0.06), (8192, 0.015), (100_000, 0.01)])
@pytest.mark.parametrize("batch_size", [1, 4, 8, 32])
def test_few_chips_are_computed_for_nothing(side: int, waste: float, batch_size: int) -> None:
    counts = list(chip_counts(_cut(side, batch_size=batch_size)))
    needed = sum(times * rows * cols for rows, cols, times in counts)
    computed = sum(times * -(-rows * cols // batch_size) * batch_size for rows, cols, times in counts)
    assert needed == (-(-side // 192)) ** 2
    assert computed <= (1 + waste * max(1, batch_size / 8)) * needed


@pytest.mark.parametrize("pixel_bytes", [1, 4, 100, 600])
def test_a_cell_of_many_classes_is_small(pixel_bytes: int) -> None:
    grid = _cut(20_000, pixel_bytes=pixel_bytes)
    assert grid.side <= MOST_SIDE
    assert grid.side**2 * pixel_bytes <= CELL_BYTES


def test_a_tile_larger_than_a_cell_would_be_makes_cells_of_one_stride() -> None:
    grid = _cut(20_000, tile=4096, padding=64)
    assert grid.strides == 1


def test_a_small_raster_is_one_cell() -> None:
    assert _cut(100).whole.cells == 1
