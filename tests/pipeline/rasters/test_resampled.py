"""Arrays on another grid."""

import numpy as np
import pytest
import xarray

from rasterloom.pipeline.rasters import resampled
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster

TARGETS = [
    {"cell_size": (0.7, 0.7)},
    {"cell_size": (2.37, 3.1)},
    {"crs": "EPSG:3857"},
    {"crs": "EPSG:32634", "cell_size": (1.4, 1.4)},
    {"crs": "EPSG:4326"},
]


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(resampled, "BLOCK", 48)


def pair(tmp_path, dtype="float32", nodata=None):
    """A file, and an array that holds the same."""
    path = write_raster(tmp_path / "a.tif", height=110, width=140, dtype=dtype, nodata=nodata, bands=2)
    array = open_raster(path, chunks=64)
    return describe(path), describe(array + np.zeros((), dtype) if nodata is None else array.compute())


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_an_array_on_another_grid_reads_like_its_file(tmp_path, target, nodata):
    file, array = pair(tmp_path, nodata=nodata)
    assert array.array is not None
    grid = file.grid.regridded(**target)
    pixels, valid = whole(file.on_grid(grid))
    found, seen = whole(array.on_grid(grid))
    np.testing.assert_array_equal(seen, valid)
    np.testing.assert_allclose(found[:, valid], pixels[:, valid], rtol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_value_does_not_depend_on_the_window(tmp_path, target, dtype):
    _, array = pair(tmp_path, dtype=dtype)
    array = array.on_grid(array.grid.regridded(**target))
    pixels, valid = whole(array)
    generator = np.random.default_rng(0)
    for _ in range(4):
        row, row_stop = sorted(generator.choice(array.grid.height + 1, 2, replace=False).tolist())
        col, col_stop = sorted(generator.choice(array.grid.width + 1, 2, replace=False).tolist())
        window = Window(row, col, row_stop - row, col_stop - col)
        resampled._local.__dict__.clear()
        for bands in (None, [1]):
            part, part_valid = read_window(array, window, bands)
            np.testing.assert_array_equal(
                part, pixels[:, *window.slices][slice(None) if bands is None else bands]
            )
            np.testing.assert_array_equal(part_valid, valid[window.slices])


def test_cells_outside_of_an_array_are_not_valid(tmp_path):
    _, array = pair(tmp_path)
    a, _, west, _, e, north = array.grid.transform
    grid = Grid(array.grid.crs, (1.5 * a, 0.0, west - 60.0, 0.0, 1.5 * e, north + 300.0), 400, 300)
    pixels, valid = whole(array.on_grid(grid))
    assert valid[200:273, 40:133].all()
    assert valid.sum() <= 74 * 95
    assert pixels.shape == (2, 400, 300)


def test_not_a_number_does_not_spread_over_an_array(tmp_path):
    _, array = pair(tmp_path)
    values = array.array.compute()
    values[:, 50:60, 50:60] = np.nan
    raster = describe(xarray.DataArray(values))
    _, valid = whole(raster.on_grid(raster.grid.regridded(cell_size=(2.0, 2.0))))
    assert not valid[25:30, 25:30].any()
    assert valid.sum() >= valid.size - 49


def test_only_the_pixels_under_a_block_are_read(tmp_path):
    _, array = pair(tmp_path)
    asked = []

    def note(raster, window, bands):
        asked.append(window)
        return np.zeros((len(bands), window.height, window.width), "float32"), np.ones(
            (window.height, window.width), bool
        )

    coarse = array.on_grid(array.grid.regridded(cell_size=(0.25, 0.25)))
    resampled.read_resampled(coarse, Window(0, 0, 10, 10), [0], note)
    assert [(w.row, w.col) for w in asked] == [(0, 0)]
    assert max(asked[0].height, asked[0].width) < 30
