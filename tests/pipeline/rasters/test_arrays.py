import pickle
import threading

import dask
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray
from affine import Affine

from rasterloom.models.errors import CrsError, RasterError, ReadError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.read import read_padded, read_window
from tests.support.rasters import smooth_pixels, write_raster


@pytest.fixture
def path(tmp_path):
    return write_raster(tmp_path / "a.tif", height=70, width=90)


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def plain(height=20, width=30, **attrs):
    """A georeferenced array that lives in memory."""
    array = xarray.DataArray(
        smooth_pixels(2, height, width, dtype="float32"),
        dims=("band", "y", "x"),
        coords={"y": 100.0 - np.arange(height), "x": 50.0 + np.arange(width)},
        attrs=attrs,
    )
    return array.rio.write_crs("EPSG:32633")


def ndvi(array):
    red, green = array[0].astype("float32"), array[1].astype("float32")
    return (green - red) / (green + red)


def test_opening_computes_nothing_and_reads_what_the_file_holds(path):
    computed = []

    def refuse(graph, keys, **options):
        computed.append(keys)
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        array = open_raster(path, chunks=32)
        result = ndvi(array)
        assert describe(array).array is None
        assert describe(result).grid == describe(path).grid
    assert not computed
    assert array.chunks == ((3,), (32, 32, 6), (32, 32, 26))
    assert array.rio.crs.to_epsg() == 32633
    np.testing.assert_array_equal(array.values, whole(describe(path))[0])


def test_an_opened_array_is_its_file_until_something_is_computed(path):
    array, file = open_raster(path, chunks=32), describe(path)
    for same in (array, array.copy(), array.isel(band=slice(None)), pickle.loads(pickle.dumps(array))):
        assert describe(same) == file
    changed = {
        "sliced": array[:, 5:, 7:],
        "one band": array[0],
        "turned": array[:, ::-1],
        "another type": array.astype("float32"),
        "loaded": array.compute(),
        "shifted": array.assign_coords(x=array.x + 1000),
        "other crs": array.rio.write_crs("EPSG:32634"),
        "other nodata": array.rio.write_nodata(7),
    }
    for what, other in changed.items():
        assert describe(other).array is not None, what


@pytest.mark.parametrize(
    "cut", [(slice(None), slice(5, 40), slice(7, 80)), (slice(1, 2), slice(0, 1), slice(0, 90))]
)
def test_a_slice_lies_where_it_was_cut(path, cut):
    array = open_raster(path, chunks=32)[cut]
    raster, file = describe(array), describe(path)
    window = Window(cut[1].start, cut[2].start, *array.shape[1:])
    assert raster.grid.bounds == pytest.approx(file.grid.window_bounds(window))
    np.testing.assert_array_equal(whole(raster)[0], read_window(file, window)[0][cut[0]])


def test_every_second_pixel_has_cells_twice_as_large(path):
    raster = describe(open_raster(path)[:, ::2, ::2])
    assert raster.grid.cell_size == pytest.approx((2.0, 2.0))


def test_a_slice_of_a_rotated_raster_lies_where_it_was_cut(tmp_path):
    affine = Affine.translation(500000, 5000000) @ Affine.rotation(30) @ Affine.scale(2, -2)
    profile = {
        "count": 1,
        "height": 20,
        "width": 30,
        "dtype": "uint16",
        "crs": "EPSG:32633",
        "driver": "GTiff",
    }
    with rasterio.open(tmp_path / "a.tif", "w", transform=affine, **profile) as target:
        target.write(smooth_pixels(1, 20, 30, dtype="uint16"))
    array, file = open_raster(tmp_path / "a.tif"), describe(tmp_path / "a.tif")
    assert describe(array) == file
    part = describe(array[:, 5:, 7:])
    expected = file.grid.cropped(Window(5, 7, 15, 23))
    assert part.grid.affine.almost_equals(expected.affine, precision=1e-6)


@pytest.mark.parametrize("chunks", [None, 8, 64])
def test_computed_arrays_read_like_files(path, tmp_path, chunks):
    computed = ndvi(open_raster(path, chunks=chunks or 1024)).rename("ndvi")
    if chunks is None:
        computed = computed.compute()
    expected = computed.compute().values[None]
    computed.rio.to_raster(tmp_path / "ndvi.tif")
    raster, file = describe(computed), describe(tmp_path / "ndvi.tif")
    assert raster.name == "array ndvi"
    assert raster.dtype == file.dtype == "float32"
    assert raster.grid == file.grid
    for window in (Window(0, 0, 70, 90), Window(3, 5, 20, 30), Window(69, 89, 1, 1)):
        pixels, valid = read_window(raster, window)
        np.testing.assert_array_equal(pixels, expected[:, *window.slices])
        np.testing.assert_array_equal(pixels, read_window(file, window)[0])
        np.testing.assert_array_equal(valid, read_window(file, window)[1])
    around = Window(-9, -9, 88, 108)
    np.testing.assert_array_equal(read_padded(raster, around)[0], read_padded(file, around)[0])


def test_a_read_computes_only_the_chunks_it_meets(path):
    seen = []

    def note(block, block_info=None):
        if block_info:
            seen.append(block_info[0]["chunk-location"])
        return block

    array = open_raster(path, chunks=32)
    array = array.copy(data=array.data.map_blocks(note, dtype="uint8", meta=np.empty((0, 0, 0), "uint8")))
    raster = describe(array)
    assert not seen
    read_window(raster, Window(0, 40, 10, 10))
    assert seen == [(0, 0, 1)]


def test_threads_read_a_computed_array_alike(path):
    raster = describe(ndvi(open_raster(path, chunks=16)))
    expected = whole(raster)[0]
    found = [None] * 6

    def work(index):
        found[index] = whole(raster)[0]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        np.testing.assert_array_equal(one, expected)


def test_a_pickled_array_raster_reads_the_same(path):
    raster = describe(ndvi(open_raster(path)))
    copy = pickle.loads(pickle.dumps(raster))
    assert (copy.etag, copy.grid) == (raster.etag, raster.grid)
    np.testing.assert_array_equal(whole(copy)[0], whole(raster)[0])


def test_the_etag_follows_the_pixels(path):
    assert describe(ndvi(open_raster(path))).etag == describe(ndvi(open_raster(path))).etag
    before = describe(plain()).etag
    assert describe(plain()).etag == before
    assert describe(plain() + 1).etag != before


def test_chunks_that_fail_to_read_are_a_read_error(path):
    raster = describe(ndvi(open_raster(path)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ReadError, match="could not be read"):
        whole(raster)


def test_a_raster_on_another_grid_opens_as_it_will_be_read(path):
    raster = describe(path)
    raster = raster.on_grid(raster.grid.regridded(cell_size=(2.0, 2.0)))
    array = open_raster(raster, chunks=16)
    assert describe(array) == raster
    np.testing.assert_array_equal(array.values, whole(raster)[0])
    part = describe(array[:, 4:, 6:])
    assert part.grid.bounds == pytest.approx(raster.grid.window_bounds(Window(4, 6, 31, 39)))


def test_an_array_opens_as_itself():
    array = plain()
    np.testing.assert_array_equal(open_raster(array).values, array.values)


def test_names_of_bands_survive_where_there_are_as_many(path):
    array = open_raster(path)
    assert array.attrs["band_names"] == ("Red", "Green", "Blue") == describe(array.compute()).bands
    assert describe(array[::-1]).bands == ("Blue", "Green", "Red")
    assert describe(array[1:]).bands == ("Green", "Blue")
    assert describe(array[2] * 2).bands == ("Blue",)
    assert describe(ndvi(array)).bands == ("Band_1",)
    assert describe(plain(long_name=["a", "b"])).bands == ("a", "b")
    assert describe(plain(long_name="a")).bands == ("Band_1", "Band_2")
    assert describe(plain(long_name="a")[:1]).bands == ("a",)


def test_nodata_of_an_array_hides_pixels():
    array = plain().rio.write_nodata(-1.0)
    array[:, 3, 4] = -1.0
    array[0, 5, 6] = np.nan
    valid = np.ones((20, 30), bool)
    valid[3, 4] = valid[5, 6] = False
    np.testing.assert_array_equal(whole(describe(array))[1], valid)


def test_dimensions_in_another_order_are_put_right():
    array = plain()
    np.testing.assert_array_equal(whole(describe(array.transpose("y", "x", "band")))[0], array.values)
    assert describe(array.isel(band=0)).band_count == 1


def test_foreign_byte_order_is_read_as_the_machines_own():
    raster = describe(plain().astype(">f4"))
    assert raster.dtype == "float32"
    assert whole(raster)[0].dtype.isnative


def test_south_up_arrays_keep_their_rows(path):
    array = plain()[:, ::-1]
    raster = describe(array)
    assert raster.grid.transform[4] > 0
    np.testing.assert_array_equal(whole(raster)[0], array.values)


def test_a_single_pixel_with_a_transform_is_a_raster(path):
    raster = describe(open_raster(path)[:, 3:4, 5:6])
    assert raster.grid.bounds == pytest.approx(describe(path).grid.window_bounds(Window(3, 5, 1, 1)))


def test_coordinates_stored_in_single_precision_are_even_enough():
    array = plain(200, 300)
    array = array.assign_coords(x=(10 + np.arange(300) * 1e-4).astype("float32"))
    assert describe(array).grid.cell_size[0] == pytest.approx(1e-4, rel=0.01)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda a: a.rename(x="column"), "needs .band, y, x."),
        (lambda a: a.expand_dims("time"), "needs .band, y, x."),
        (lambda a: a[:, :0], "each with something in it"),
        (lambda a: a.astype("complex64"), "complex64 is not a raster"),
        (lambda a: a > 0, "bool is not a raster"),
        (lambda a: a.drop_vars(["x", "y"]), "does not say where its pixels lie"),
        (lambda a: a[:, :1, :1], "does not say where its pixels lie"),
        (lambda a: a.assign_coords(y=np.exp(-np.arange(20.0))), "y of the array are not evenly spaced"),
        (lambda a: a.to_dataset(name="warmth"), r"choose one of its variables \(warmth"),
    ],
)
def test_arrays_that_are_no_rasters_are_refused(spoil, words):
    with pytest.raises(RasterError, match=words):
        describe(spoil(plain()))


def test_an_array_without_crs_is_refused():
    with pytest.raises(CrsError, match=r"DataArray\.rio\.write_crs"):
        describe(plain().drop_vars("spatial_ref"))


def test_a_raster_opened_by_rioxarray_itself_is_a_source_too(path):
    for array in (rioxarray.open_rasterio(path), rioxarray.open_rasterio(path, chunks={}, masked=True)):
        with array:
            raster = describe(array)
            assert raster.grid == describe(path).grid
            np.testing.assert_array_equal(whole(raster)[0], whole(describe(path))[0])


def test_an_opened_array_can_be_written(path, tmp_path):
    open_raster(path).rio.to_raster(tmp_path / "copy.tif")
    np.testing.assert_array_equal(whole(describe(tmp_path / "copy.tif"))[0], whole(describe(path))[0])
