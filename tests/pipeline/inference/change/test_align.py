"""Two rasters find the ground that they share."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.change.align import common_part, footprint, laid_on
from rasterloom.pipeline.rasters.grid import Grid, Window, read_crs
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster

CRS = read_crs("EPSG:32633").to_wkt()
HEIGHT, WIDTH = 40, 50


def _raster(grid: Grid) -> Raster:
    return Raster(
        name="raster", path="x", array=None, native=grid, grid=grid, bands=("a",), dtype="uint8",
        nodata=None, resampling="nearest", etag="x",
    )  # fmt: skip


def _grid(row: int, col: int, height: int, width: int, cell: float = 1.0) -> Grid:
    return Grid(CRS, (cell, 0.0, 500000.0 + col, 0.0, -cell, 5000000.0 - row), height, width)


@given(
    row=st.integers(-60, 60),
    col=st.integers(-60, 60),
    height=st.integers(1, 80),
    width=st.integers(1, 80),
)
def test_what_is_compared_are_the_cells_that_both_have(row: int, col: int, height: int, width: int) -> None:
    before, after = _raster(_grid(0, 0, HEIGHT, WIDTH)), _raster(_grid(row, col, height, width))
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[max(0, row) : max(0, row + height), max(0, col) : max(0, col + width)] = True
    whole = Window(0, 0, HEIGHT, WIDTH)
    if not covered.any():
        with pytest.raises(SettingError, match="do not overlap"):
            common_part(before, after.on_grid(before.grid), whole)
        return
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[common_part(before, after.on_grid(before.grid), whole).slices] = True
    assert (found == covered).all()


@given(row=st.integers(0, HEIGHT - 1), col=st.integers(0, WIDTH - 1), side=st.integers(1, 60))
def test_an_extent_narrows_it(row: int, col: int, side: int) -> None:
    extent = Window(row, col, side, side).clipped((HEIGHT, WIDTH))
    before, after = _raster(_grid(0, 0, HEIGHT, WIDTH)), _raster(_grid(10, 10, 20, 20))
    assume(row < 30 and col < 30 and extent.row_stop > 10 and extent.col_stop > 10)
    found = common_part(before, after.on_grid(before.grid), extent)
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[extent.slices] += 1
    expected[10:30, 10:30] += 1
    covered = np.zeros((HEIGHT, WIDTH), bool)
    covered[found.slices] = True
    assert (covered == (expected == 2)).all()


def test_a_footprint_in_another_crs_holds_the_whole_raster() -> None:
    turned = _grid(5, 5, 20, 20).regridded(crs="EPSG:4326")
    window = footprint(_raster(turned), _grid(0, 0, HEIGHT, WIDTH))
    assert window.row <= 5
    assert window.col <= 5
    assert window.row_stop >= 25
    assert window.col_stop >= 25
    assert window.height < HEIGHT


def test_another_wording_of_the_same_crs_takes_pixels_as_they_are(tmp_path: Path) -> None:
    raster = describe(write_raster(tmp_path / "a.tif", height=30, width=30))
    worded = 'PROJCS["another name",' + raster.grid.crs.partition(",")[2]
    grid = Grid(worded, raster.grid.transform, 30, 30).cropped(Window(3, 4, 20, 20))
    laid = laid_on(raster, grid, "cubic")
    expected = read_window(raster, Window(3, 4, 20, 20))[0]
    assert laid.grid == grid
    assert (read_window(laid, Window(0, 0, 20, 20))[0] == expected).all()
