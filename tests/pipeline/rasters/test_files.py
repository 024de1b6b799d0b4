import numpy as np
import pytest
import rasterio
from affine import Affine

from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import smooth_pixels

NAMES = ("Red", "Green", "Blue")


def write(path, pixels, **options):
    count, height, width = pixels.shape
    place = Affine(1, 0, 500000, 0, -1, 5000000)
    profile = {"count": count, "height": height, "width": width, "dtype": pixels.dtype, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", driver="GTiff", transform=place, **profile, **options) as target:
        target.write(pixels)
    return path


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


@pytest.fixture
def near_infrared(tmp_path):
    """Four bands of bytes, written without a word about the fourth: GDAL calls it alpha."""
    path = write(tmp_path / "a.tif", smooth_pixels(4, 90, 100))
    with rasterio.open(path) as source:
        assert source.colorinterp[3].name == "alpha"
    return path


def test_measurements_that_gdal_calls_alpha_are_a_band_with_a_warning(near_infrared):
    with pytest.warns(UserWarning, match=r"a\.tif is marked as alpha and holds many values.*alpha='mask'"):
        raster = describe(near_infrared)
    assert raster.band_count == 4
    pixels, valid = whole(raster)
    np.testing.assert_array_equal(pixels, smooth_pixels(4, 90, 100))
    assert valid.all()


def test_the_caller_may_say_what_alpha_is(near_infrared, tmp_path):
    band, mask = describe(near_infrared, alpha="band"), describe(near_infrared, alpha="mask")
    assert band.bands == (*NAMES, "Band_4")
    assert mask.bands == NAMES
    assert band.etag != mask.etag
    assert whole(mask)[0].shape == (3, 90, 100)
    np.testing.assert_array_equal(open_raster(near_infrared, alpha="band").values, whole(band)[0])
    np.testing.assert_array_equal(whole(pinned(band, tmp_path / "run"))[0], whole(band)[0])


def test_an_alpha_band_as_data_can_be_read_on_another_grid(near_infrared):
    raster = describe(near_infrared, alpha="band")
    coarse = raster.on_grid(raster.grid.regridded(cell_size=(2.0, 2.0)))
    pixels, valid = whole(coarse)
    assert valid.all()
    expected = smooth_pixels(4, 90, 100).reshape(4, 45, 2, 50, 2).mean(axis=(2, 4))
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("kind", ["all seen", "nothing seen", "half", "soft edge", "half seen through"])
def test_masks_stay_masks(tmp_path, kind):
    pixels = smooth_pixels(4, 90, 100)
    pixels[3] = {"all seen": 255, "nothing seen": 0, "half seen through": 128}.get(kind, 255)
    if kind in ("half", "soft edge"):
        pixels[3, :, :50] = 0
    if kind == "soft edge":
        pixels[3, :, 48:53] = [50, 100, 150, 200, 250]
    raster = describe(write(tmp_path / "a.tif", pixels))
    assert raster.bands == NAMES
    np.testing.assert_array_equal(whole(raster)[1], pixels[3] > 0)


def test_wide_masks_are_masks_whatever_their_value(tmp_path):
    pixels = smooth_pixels(4, 30, 40, dtype="uint16")
    pixels[3] = 255
    path = write(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
    assert describe(path).bands == NAMES


def test_a_colour_map_is_read_as_its_numbers_and_never_averaged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 5, (1, 40, 60)).astype("uint8")
    path = write(tmp_path / "a.tif", pixels, photometric="palette")
    with rasterio.open(path, "r+") as target:
        target.write_colormap(1, {value: (value, 10 * value, 0, 255) for value in range(5)})
    raster = describe(path)
    assert raster.indexed
    np.testing.assert_array_equal(whole(raster)[0], pixels)
    coarse = raster.on_grid(raster.grid.regridded(cell_size=(1.7, 1.7)))
    assert coarse.resampling == "nearest"
    assert set(np.unique(whole(coarse)[0])) <= set(range(5))


def test_scale_and_offset_are_not_applied(tmp_path):
    pixels = smooth_pixels(1, 20, 30, dtype="int16")
    path = write(tmp_path / "a.tif", pixels)
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (0.0001,), (-0.1,)
    np.testing.assert_array_equal(whole(describe(path))[0], pixels)
