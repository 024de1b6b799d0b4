from dataclasses import replace

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.open import describe
from tests.support.rasters import write_raster


@pytest.fixture
def raster(tmp_path):
    return describe(write_raster(tmp_path / "a.tif", height=40, width=50))


def test_its_own_grid_changes_nothing(raster):
    assert raster.on_grid(raster.grid) is raster


@pytest.mark.parametrize(
    ("target", "resampling"),
    [
        ({"cell_size": (1.4, 1.4)}, "bilinear"),
        ({"cell_size": (0.5, 0.5)}, "bilinear"),
        ({"cell_size": (1.0, 2.0)}, "average"),
        ({"crs": "EPSG:3857"}, "bilinear"),
        ({"crs": "EPSG:3857", "cell_size": (5.0, 5.0)}, "average"),
    ],
)
def test_larger_cells_are_averaged_and_others_interpolated(raster, target, resampling):
    assert raster.on_grid(raster.grid.regridded(**target)).resampling == resampling


def test_the_caller_may_choose_the_resampling(raster):
    grid = raster.grid.regridded(cell_size=(3.0, 3.0))
    assert raster.on_grid(grid, resampling="nearest").resampling == "nearest"


def test_coming_back_to_the_native_grid_reads_the_pixels_as_they_are(raster):
    there = raster.on_grid(raster.grid.regridded(cell_size=(3.0, 3.0)))
    assert there.on_grid(raster.grid).grid == there.native


def test_an_unknown_resampling_lists_the_known_ones(raster):
    with pytest.raises(SettingError, match=r"'cubical' is not known: use one of nearest, bilinear"):
        raster.on_grid(raster.grid.regridded(cell_size=(3.0, 3.0)), resampling="cubical")


def test_numbers_of_colours_are_not_mixed(raster):
    indexed = replace(raster, indexed=True)
    assert indexed.on_grid(raster.grid.regridded(cell_size=(3.0, 3.0))).resampling == "nearest"
