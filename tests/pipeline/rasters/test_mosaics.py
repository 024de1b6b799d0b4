from itertools import pairwise

import numpy as np
import pytest
import rasterio
import rasterio.merge

from rasterloom.models.errors import MissingInputError, RasterError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import smooth_pixels, write_pixels, write_raster

WEST, NORTH = 500000.0, 5000000.0


def part(path, row, col, pixels, **options):
    return write_pixels(path, pixels, origin=(WEST + col, NORTH - row), **options)


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def masked(path, row, col, value, valid):
    """A one-band raster of one value whose own mask says what is valid."""
    part(path, row, col, np.full((1, *valid.shape), value, "uint8"))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(valid)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64", "int64"])
def test_abutting_parts_read_as_the_whole_they_were_cut_from(tmp_path, dtype):
    pixels = smooth_pixels(3, 100, 130, dtype=dtype)
    rows, cols = (0, 37, 100), (0, 50, 51, 130)
    for row, row_stop in pairwise(rows):
        for col, col_stop in pairwise(cols):
            part(tmp_path / f"{row}_{col}.tif", row, col, pixels[:, row:row_stop, col:col_stop])
    raster = describe(tmp_path)
    assert raster.grid.shape == (100, 130)
    read_back, valid = whole(raster)
    np.testing.assert_array_equal(read_back, pixels)
    assert valid.all()
    merged, transform = rasterio.merge.merge(sorted(tmp_path.glob("*.tif")))
    np.testing.assert_array_equal(read_back, merged)
    assert raster.grid.affine.almost_equals(transform)


@pytest.mark.parametrize("nodata", [None, 0])
def test_gaps_between_parts_are_not_valid(tmp_path, nodata):
    paths = [
        part(tmp_path / f"{i}.tif", i * 30, i * 40, np.full((2, 30, 40), i + 1, "uint8"), nodata=nodata)
        for i in range(3)
    ]
    pixels, valid = whole(describe(paths))
    expected = np.kron(np.eye(3, dtype=bool), np.ones((30, 40), bool))
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(pixels[0][valid], np.repeat([1, 2, 3], 1200))


@pytest.mark.parametrize("nodata", [None, 0])
def test_the_last_part_is_on_top(tmp_path, nodata):
    paths = [
        part(tmp_path / f"{i}.tif", 0, i * 10, np.full((1, 20, 30), i + 1, "uint8"), nodata=nodata)
        for i in range(3)
    ]
    for order in (paths, paths[::-1]):
        merged, _ = rasterio.merge.merge(order, method="last")
        np.testing.assert_array_equal(whole(describe(order))[0], merged)


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_part_masks_out_does_not_hide_the_part_below(tmp_path, order):
    left, right = np.ones((20, 20), bool), np.ones((20, 20), bool)
    left[:5], right[10:] = False, False
    paths = [masked(tmp_path / "a.tif", 0, 0, 1, left), masked(tmp_path / "b.tif", 0, 10, 2, right)][::order]
    pixels, valid = whole(describe(paths))
    expected = np.zeros((20, 30), "uint8")
    for row, col, value, seen in [(0, 0, 1, left), (0, 10, 2, right)][::order]:
        spot = expected[row : row + 20, col : col + 20]
        spot[seen] = value
    np.testing.assert_array_equal(valid, expected > 0)
    np.testing.assert_array_equal(pixels[0][valid], expected[valid])


def test_nodata_of_a_part_does_not_hide_the_part_below(tmp_path):
    below = part(tmp_path / "a.tif", 0, 0, np.full((1, 10, 10), 5, "uint8"), nodata=0)
    hole = np.full((1, 10, 10), 9, "uint8")
    hole[0, 2:4] = 0
    above = part(tmp_path / "b.tif", 0, 0, hole, nodata=0)
    pixels, valid = whole(describe([below, above]))
    assert valid.all()
    np.testing.assert_array_equal(pixels, np.where(hole == 0, 5, 9))


def test_a_mosaic_can_be_read_on_another_grid_with_its_gaps(tmp_path):
    for col in (0, 40):
        part(tmp_path / f"{col}.tif", 0, col, np.full((1, 20, 20), 100, "uint8"))
    raster = describe(tmp_path)
    pixels, valid = whole(raster.on_grid(raster.grid.regridded(cell_size=(2.0, 2.0))))
    np.testing.assert_array_equal(valid, np.repeat([[True, False, True]], 10, axis=0).repeat(10, axis=1))
    assert (pixels[0][valid] == 100).all()


def test_parts_a_fraction_of_a_pixel_off_are_laid_to_the_nearest_pixel(tmp_path):
    left, right = (np.full((1, 10, 10), value, "uint8") for value in (1, 2))
    part(tmp_path / "a.tif", 0, 0, left)
    part(tmp_path / "b.tif", 0.2, 10.3, right)
    raster = describe(tmp_path)
    assert raster.grid.shape == (10, 20)
    assert (whole(raster)[0][0, :, 9:11] == [1, 2]).all()


def test_a_mosaic_keeps_names_nodata_and_crs_and_opens_as_an_array(tmp_path):
    for col in (0, 20):
        path = part(tmp_path / f"{col}.tif", 0, col, smooth_pixels(2, 20, 20), nodata=3)
        with rasterio.open(path, "r+") as target:
            target.descriptions = ("near infrared", "height & depth")
    raster = describe([str(path) for path in sorted(tmp_path.glob("*.tif"))])
    assert raster.bands == ("near infrared", "height & depth")
    assert raster.nodata == 3
    assert "mosaic of 2 rasters" in raster.name
    array = open_raster(tmp_path)
    np.testing.assert_array_equal(array.values, whole(raster)[0])
    assert array.rio.crs.to_epsg() == 32633


def test_a_pinned_mosaic_travels_light_and_reads_the_same(tmp_path):
    for col in range(5):
        part(tmp_path / f"{col}.tif", 0, col * 10, smooth_pixels(2, 10, 10, seed=col))
    raster = describe(tmp_path)
    small = pinned(raster, tmp_path / "run" / "deep")
    assert len(small.path) < 300
    np.testing.assert_array_equal(whole(small)[0], whole(raster)[0])
    assert pinned(small, tmp_path / "other") == small
    assert not (tmp_path / "other").exists()


def test_one_part_is_read_as_the_file_it_is(tmp_path):
    path = write_raster(tmp_path / "a.tif", height=20, width=20)
    assert describe([path]) == describe(path) == describe(tmp_path)


def test_a_replaced_part_gives_the_mosaic_another_etag(tmp_path):
    for col in (0, 10):
        part(tmp_path / f"{col}.tif", 0, col, smooth_pixels(1, 10, 10))
    before = describe(tmp_path)
    assert describe(tmp_path).etag == before.etag
    part(tmp_path / "10.tif", 0, 10, smooth_pixels(1, 10, 10, seed=9))
    assert describe(tmp_path).etag != before.etag


@pytest.mark.parametrize(("other", "words"), [({"bands": 2}, "bands"), ({"dtype": "uint16"}, "pixel type")])
def test_parts_that_do_not_fit_are_refused_by_name(tmp_path, other, words):
    write_raster(tmp_path / "a.tif", height=10, width=10)
    write_raster(tmp_path / "odd.tif", height=10, width=10, **other)
    with pytest.raises(RasterError, match=words) as refused:
        describe(tmp_path)
    assert "odd.tif" in str(refused.value)


def test_parts_with_nodata_values_of_their_own_are_read_through_their_masks(tmp_path):
    left, right = np.full((2, 10, 10), 5, "uint8"), np.full((2, 10, 10), 7, "uint8")
    left[:, 2], left[0, 4] = 0, 0  # nothing there; dark
    right[:, 3], right[0, 5] = 255, 255
    paths = [
        part(tmp_path / "a.tif", 0, 0, left, nodata=0),
        part(tmp_path / "b.tif", 0, 10, right, nodata=255),
        part(tmp_path / "c.tif", 0, 20, np.full((2, 10, 10), 0, "uint8")),
    ]
    raster = describe(paths)
    assert raster.nodata is None
    pixels, valid = whole(raster)
    expected = np.ones((10, 30), bool)
    expected[2, :10] = expected[3, 10:20] = False
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(pixels[1][:, :10][expected[:, :10]], 5)


def test_parts_whose_nodata_is_no_number_agree(tmp_path):
    pixels = smooth_pixels(1, 10, 10, dtype="float32")
    pixels[0, 3] = np.nan
    for col in (0, 10):
        part(tmp_path / f"{col}.tif", 0, col, pixels, nodata=np.nan)
    raster = describe(tmp_path)
    assert np.isnan(raster.nodata)
    np.testing.assert_array_equal(whole(raster)[1], np.isfinite(np.tile(pixels[0], 2)))


def test_a_missing_part_is_named(tmp_path):
    path = write_raster(tmp_path / "a.tif", height=10, width=10)
    with pytest.raises(MissingInputError, match=r"gone\.tif"):
        describe([path, tmp_path / "gone.tif"])
