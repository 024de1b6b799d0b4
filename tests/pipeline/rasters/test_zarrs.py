import gc
import os
import pickle
import shutil

import numpy as np
import pytest
import rioxarray  # noqa: F401  gives arrays their .rio
import xarray

from rasterloom.models.errors import CrsError, RasterError, ReadError, SettingError
from rasterloom.pipeline.rasters import checks
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.read import read_padded, read_window
from tests.support.rasters import smooth_pixels
from tests.support.web import serve_folder

# zarr says so of every store that xarray writes with its metadata in one place
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def layer(pixels, *, nodata=None):
    dims = ("y", "x") if pixels.ndim == 2 else ("band", "y", "x")
    height, width = pixels.shape[-2:]
    array = xarray.DataArray(
        pixels, dims=dims, coords={"y": 5e6 - 0.5 - np.arange(height), "x": 5e5 + 0.5 + np.arange(width)}
    ).rio.write_crs("EPSG:32633")
    return array if nodata is None else array.rio.write_nodata(nodata)


def store(path, chunks=(32, 32), zarr_format=3, **layers):
    dataset = xarray.Dataset(layers)
    encoding = {
        name: {"chunks": (*array.shape[:-2], *chunks)} for name, array in layers.items() if array.ndim > 1
    }
    dataset.to_zarr(path, encoding=encoding, zarr_format=zarr_format)
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_the_bands_of_one_array_are_read_by_windows(tmp_path, dtype, zarr_format):
    pixels = smooth_pixels(3, 70, 90, dtype=dtype)
    raster = describe(store(tmp_path / "a.zarr", zarr_format=zarr_format, reflectance=layer(pixels)))
    assert raster.grid.bounds == (5e5, 5e6 - 70, 5e5 + 90, 5e6)
    assert (raster.band_count, raster.dtype) == (3, dtype)
    copy = pickle.loads(pickle.dumps(raster))
    for window in (Window(0, 0, 70, 90), Window(5, 40, 30, 33), Window(69, 89, 1, 1)):
        for bands in (None, [2], [2, 0], [1, 1]):
            expected = pixels[:, *window.slices][slice(None) if bands is None else bands]
            np.testing.assert_array_equal(read_window(copy, window, bands)[0], expected)
    around = np.pad(pixels, ((0, 0), (9, 9), (9, 9)), mode="reflect")
    np.testing.assert_array_equal(read_padded(raster, Window(-9, -9, 88, 108))[0], around)


def test_variables_on_one_grid_are_bands(tmp_path):
    pixels = smooth_pixels(3, 40, 50)
    path = store(tmp_path / "a.zarr", red=layer(pixels[0]), nir=layer(pixels[1]), pair=layer(pixels[1:]))
    raster = describe(path)
    assert raster.bands == ("nir", "pair_1", "pair_2", "red")
    np.testing.assert_array_equal(whole(raster)[0], pixels[[1, 1, 2, 0]])
    chosen = describe(path, variable=["red", "nir"])
    assert chosen.bands == ("red", "nir")
    np.testing.assert_array_equal(whole(chosen)[0], pixels[[0, 1]])
    np.testing.assert_array_equal(open_raster(path, chunks=16, variable="nir").values, pixels[1:2])
    assert describe(open_raster(path, variable="nir")) == describe(path, variable="nir")


def test_what_travels_to_a_worker_is_small(tmp_path):
    raster = describe(store(tmp_path / "a.zarr", a=layer(smooth_pixels(3, 300, 300))))
    assert len(pickle.dumps(raster)) < 3000


def test_a_window_reads_only_its_chunks(tmp_path):
    pixels = smooth_pixels(1, 96, 96)
    path = store(tmp_path / "a.zarr", a=layer(pixels))
    raster = describe(path)
    for chunk in (path / "a" / "c" / "0").rglob("*"):
        if chunk.is_file() and chunk.parent.name != "1":
            chunk.write_bytes(b"damaged")
    np.testing.assert_array_equal(read_window(raster, Window(32, 0, 32, 96))[0], pixels[:, 32:64])
    with pytest.raises(ReadError, match=r"a\.zarr: Window\(row=31"):
        read_window(raster, Window(31, 0, 2, 2))


def test_nodata_of_a_store_hides_pixels(tmp_path):
    pixels = smooth_pixels(2, 20, 30, dtype="int16")
    pixels[:, 3, 4] = -1
    raster = describe(store(tmp_path / "a.zarr", a=layer(pixels, nodata=-1)))
    assert raster.nodata == -1
    assert whole(raster)[1].sum() == 599


def test_the_etag_follows_the_chunks(tmp_path):
    path = store(tmp_path / "a.zarr", a=layer(smooth_pixels(1, 40, 50)))
    before = describe(path).etag
    assert describe(path).etag == before
    os.utime(next(each for each in (path / "a" / "c").rglob("*") if each.is_file()), (1, 1))
    assert describe(path).etag != before


def test_a_store_written_anew_is_read_anew(tmp_path):
    before = smooth_pixels(1, 40, 50)
    np.testing.assert_array_equal(whole(describe(store(tmp_path / "a.zarr", a=layer(before))))[0], before)
    shutil.rmtree(tmp_path / "a.zarr")
    after = smooth_pixels(2, 30, 60, dtype="float32")
    np.testing.assert_array_equal(whole(describe(store(tmp_path / "a.zarr", a=layer(after))))[0], after)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_store_behind_an_address_reads_alike(tmp_path):
    pixels = smooth_pixels(2, 40, 50)
    path = store(tmp_path / "a.zarr", a=layer(pixels))
    with serve_folder(tmp_path) as web:
        raster = describe(f"{web.url}/a.zarr")
        np.testing.assert_array_equal(read_window(raster, Window(5, 6, 20, 30))[0], pixels[:, 5:25, 6:36])
    assert describe(path).grid == raster.grid
    gc.collect()  # zarr leaves its connections to the collector, which says so


def test_a_store_in_an_object_store_reads_alike(tmp_path, bucket):
    import s3fs

    pixels = smooth_pixels(2, 40, 50)
    path = store(tmp_path / "a.zarr", a=layer(pixels))
    s3fs.S3FileSystem().put(str(path), f"{bucket}/deep/a.zarr", recursive=True)
    np.testing.assert_array_equal(whole(describe(f"{bucket}/deep/a.zarr"))[0], pixels)


def test_a_store_can_be_read_on_another_grid(tmp_path):
    pixels = smooth_pixels(1, 60, 80, dtype="float32")
    raster = describe(store(tmp_path / "a.zarr", a=layer(pixels)))
    averaged, _ = whole(raster.on_grid(raster.grid.regridded(cell_size=(2.0, 2.0))))
    np.testing.assert_allclose(averaged, pixels.reshape(1, 30, 2, 40, 2).mean(axis=(2, 4)), rtol=1e-5)


def test_variables_that_do_not_fit_ask_to_choose(tmp_path):
    coarse = layer(smooth_pixels(1, 20, 25)[0]).rename(y="v", x="u")
    path = store(tmp_path / "a.zarr", a=layer(smooth_pixels(1, 40, 50)[0]), b=coarse.astype("int16"))
    with pytest.raises(RasterError, match=r"is not a raster|choose with variable= among a, b"):
        describe(path)
    assert describe(path, variable="a").bands == ("a",)
    with pytest.raises(SettingError, match="no variable 'c': it has a, b"):
        describe(path, variable="c")


@pytest.mark.parametrize("kind", ["text", "no crs", "one row"])
def test_stores_that_are_no_rasters_are_refused(tmp_path, kind):
    path = tmp_path / "a.zarr"
    if kind == "text":
        shutil.copytree(store(tmp_path / "b.zarr", a=layer(smooth_pixels(1, 9, 9))), path)
        (path / "zarr.json").write_text("{")
        error, words = RasterError, "cannot be opened as a Zarr store"
    elif kind == "no crs":
        store(path, a=layer(smooth_pixels(1, 9, 9)).drop_vars("spatial_ref"))
        error, words = CrsError, "no coordinate reference system"
    else:
        xarray.Dataset({"a": ("x", [1, 2])}).to_zarr(path)
        error, words = RasterError, "holds no array of numbers"
    with pytest.raises(error, match=words):
        describe(path)


def test_rows_and_columns_must_come_last(tmp_path):
    path = store(tmp_path / "a.zarr", a=layer(smooth_pixels(2, 20, 30)).transpose("y", "x", "band"))
    with pytest.raises(RasterError, match="rows and columns must come last"):
        describe(path)


def test_chunks_that_are_too_large_say_what_to_do(tmp_path, monkeypatch):
    path = store(tmp_path / "a.zarr", a=layer(smooth_pixels(1, 64, 64)))
    monkeypatch.setattr(checks, "MAX_BLOCK", 1000)
    with pytest.raises(RasterError, match="store it in smaller chunks"):
        describe(path)
