import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings, strategies as st
from rasterio.windows import Window as GdalWindow

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.rasters import read
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.read import HANDLES, read_padded, read_window
from tests.support.rasters import smooth_pixels, write_pixels, write_raster

HEIGHT, WIDTH = 90, 140


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    return describe(write_raster(tmp_path_factory.mktemp("r") / "a.tif", height=HEIGHT, width=WIDTH))


@st.composite
def inside(draw, height=HEIGHT, width=WIDTH):
    row, col = draw(st.integers(0, height)), draw(st.integers(0, width))
    return Window(row, col, draw(st.integers(0, height - row)), draw(st.integers(0, width - col)))


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def place(path, pixels, *, affine=None, **options):
    """Write (band, row, column) pixels with options of the GeoTIFF driver."""
    count, height, width = pixels.shape
    affine = affine or Affine(1, 0, 500000, 0, -1, 5000000)
    profile = {"count": count, "height": height, "width": width, "dtype": pixels.dtype, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", driver="GTiff", transform=affine, **profile, **options) as target:
        target.write(pixels)
    return path


def some(bands=3, height=40, width=50, low=1, high=250, dtype="uint8"):
    return np.random.default_rng(0).integers(low, high, (bands, height, width)).astype(dtype)


@settings(max_examples=40)
@given(window=inside())
def test_a_window_holds_what_rasterio_reads_there(raster, window):
    pixels, valid = read_window(raster, window)
    with rasterio.open(raster.path) as source:
        expected = source.read(window=GdalWindow(window.col, window.row, window.width, window.height))
    assert pixels.dtype == expected.dtype
    np.testing.assert_array_equal(pixels, expected)
    assert valid.shape == (window.height, window.width)
    assert valid.all()


@pytest.mark.parametrize("bands", [[0], [2, 0], [1, 1], []])
def test_bands_come_in_the_order_asked_for(raster, bands):
    window = Window(5, 6, 7, 8)
    if bands:
        np.testing.assert_array_equal(
            read_window(raster, window, bands)[0], read_window(raster, window)[0][bands]
        )
    assert read_padded(raster, Window(0, 0, 0, 8), bands)[0].shape == (len(bands), 0, 8)


@settings(max_examples=40)
@given(
    row=st.integers(-60, 120), col=st.integers(-60, 180), height=st.integers(0, 60), width=st.integers(0, 60)
)
def test_a_padded_read_is_a_part_of_the_whole_reflected(raster, row, col, height, width):
    pixels, valid = read_padded(raster, Window(row, col, height, width))
    around = ((60, 120), (60, 120))
    pad = np.pad(whole(raster)[0], ((0, 0), *around), mode="reflect")
    rows, cols = slice(row + 60, row + 60 + height), slice(col + 60, col + 60 + width)
    np.testing.assert_array_equal(pixels, pad[:, rows, cols])
    assert valid.shape == (height, width)


def test_validity_is_reflected_with_the_pixels(tmp_path):
    raster = describe(write_raster(tmp_path / "a.tif", height=40, width=40, nodata=0))
    _, valid = read_padded(raster, Window(-5, 5, 60, 60))
    pad = np.pad(whole(raster)[1], ((5, 15), (0, 25)), mode="reflect")[:, 5:]
    np.testing.assert_array_equal(valid, pad)
    assert not valid.all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_the_smallest_rasters_can_be_read_and_padded(tmp_path, shape):
    pixels = some(2, *shape)
    raster = describe(place(tmp_path / "tiny.tif", pixels))
    np.testing.assert_array_equal(whole(raster)[0], pixels)
    expected = pixels
    for axis, side in enumerate(shape, start=1):
        pad = [(0, 0)] * 3
        pad[axis] = (4, 4)
        expected = np.pad(expected, pad, mode="reflect" if side > 1 else "edge")
    read_back, _ = read_padded(raster, Window(-4, -4, shape[0] + 8, shape[1] + 8))
    np.testing.assert_array_equal(read_back, expected)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
)
def test_every_real_pixel_type_is_read_as_it_is(tmp_path, dtype):
    pixels = some(2, high=120, dtype=dtype)
    raster = describe(place(tmp_path / "a.tif", pixels))
    assert raster.dtype == dtype
    read_back, valid = whole(raster)
    assert read_back.dtype == dtype
    np.testing.assert_array_equal(read_back, pixels)
    assert valid.all()


def test_a_pixel_is_nodata_only_where_all_bands_are(tmp_path):
    pixels = some()
    pixels[:, 3, 4] = 0
    pixels[1, 7, 8] = 0  # dark, not empty
    raster = describe(place(tmp_path / "a.tif", pixels, nodata=0))
    expected = np.ones((40, 50), bool)
    expected[3, 4] = False
    np.testing.assert_array_equal(whole(raster)[1], expected)


@pytest.mark.parametrize("nodata", [np.nan, -9999.9, -3.4028234663852886e38, None])
def test_float_pixels_are_valid_where_they_are_finite_and_not_nodata(tmp_path, nodata):
    pixels = some(dtype="float32")
    expected = np.ones((40, 50), bool)
    for value, spot in ((np.nan, (1, 2)), (np.inf, (3, 4))):
        pixels[(1, *spot)] = value
        expected[spot] = False
    if nodata is not None:
        pixels[:, 5, 6] = nodata
        expected[5, 6] = False
    raster = describe(place(tmp_path / "a.tif", pixels, nodata=nodata))
    np.testing.assert_array_equal(whole(raster)[1], expected)


def test_nodata_that_the_type_cannot_hold_hides_nothing(tmp_path):
    place(tmp_path / "a.tif", some())
    xml = f"""<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:32633</SRS>
    <GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform><VRTRasterBand dataType="Byte" band="1">
    <NoDataValue>-9999</NoDataValue><SimpleSource><SourceFilename>{tmp_path}/a.tif</SourceFilename>
    <SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""
    (tmp_path / "a.vrt").write_text(xml)
    assert whole(describe(tmp_path / "a.vrt"))[1].all()


def test_an_internal_mask_says_what_is_valid(tmp_path):
    path = place(tmp_path / "a.tif", some())
    mask = np.random.default_rng(1).random((40, 50)) < 0.5
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    np.testing.assert_array_equal(whole(describe(path))[1], mask)


@pytest.mark.parametrize("nodata", [None, 7])
def test_an_alpha_band_says_what_is_valid_and_is_no_band(tmp_path, nodata):
    pixels = some(4)
    pixels[:3, 30:35] = 7
    pixels[3] = np.where(np.random.default_rng(1).random((40, 50)) < 0.5, 255, 0)
    raster = describe(place(tmp_path / "a.tif", pixels, nodata=nodata, photometric="RGB", alpha="YES"))
    assert raster.bands == ("Red", "Green", "Blue")
    read_back, valid = whole(raster)
    np.testing.assert_array_equal(read_back, pixels[:3])
    np.testing.assert_array_equal(valid, pixels[3] > 0)


@pytest.mark.parametrize("nodata", [None, 0])
def test_other_grids_keep_the_alpha_band_as_the_mask(tmp_path, nodata):
    pixels = some(4)
    pixels[3, :20], pixels[3, 20:] = 0, 255
    raster = describe(place(tmp_path / "a.tif", pixels, nodata=nodata, photometric="RGB", alpha="YES"))
    coarse = raster.on_grid(raster.grid.regridded(cell_size=(2.0, 2.0)))
    _, valid = whole(coarse)
    assert not valid[:10].any()
    assert valid[10:].all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_cells_beyond_a_turned_raster_are_not_valid(tmp_path, dtype, bands):
    raster = describe(
        place(tmp_path / "a.tif", some(bands, dtype=dtype), photometric="MINISBLACK", alpha="NO")
    )
    turned = raster.on_grid(raster.grid.regridded(crs="EPSG:32634"))
    pixels, valid = whole(turned)
    np.testing.assert_array_equal(valid, (pixels > 0).all(axis=0))
    assert 0.8 < valid.mean() < 0.95


def test_a_south_up_raster_is_read_row_by_row_as_it_lies(tmp_path):
    pixels = some()
    raster = describe(place(tmp_path / "a.tif", pixels, affine=Affine(1, 0, 500000, 0, 1, 5000000)))
    np.testing.assert_array_equal(whole(raster)[0], pixels)
    turned = raster.on_grid(raster.grid.regridded())
    np.testing.assert_array_equal(whole(turned)[0], pixels[:, ::-1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize(
    "target",
    [{"cell_size": (0.7, 0.7)}, {"cell_size": (1.3, 1.3)}, {"cell_size": (2.37, 3.1)}]
    + [{"crs": "EPSG:3857"}, {"crs": "EPSG:32634", "cell_size": (1.4, 1.4)}, {"crs": "EPSG:4326"}],
    ids=str,
)
def test_resampled_pixels_do_not_depend_on_the_window(tmp_path, dtype, nodata, target):
    path = write_raster(tmp_path / "a.tif", height=110, width=140, dtype=dtype, nodata=nodata, bands=2)
    raster = describe(path)
    raster = raster.on_grid(raster.grid.regridded(**target))
    pixels, valid = whole(raster)
    generator = np.random.default_rng(0)
    for _ in range(4):
        row, row_stop = sorted(generator.choice(raster.grid.height + 1, 2, replace=False).tolist())
        col, col_stop = sorted(generator.choice(raster.grid.width + 1, 2, replace=False).tolist())
        window = Window(row, col, row_stop - row, col_stop - col)
        read._forget(raster)  # nothing may come from GDAL's cache of the whole
        part, part_valid = read_window(raster, window)
        np.testing.assert_array_equal(part, pixels[:, *window.slices])
        np.testing.assert_array_equal(part_valid, valid[window.slices])


def test_cells_of_two_pixels_hold_their_average(tmp_path):
    pixels = smooth_pixels(2, 60, 80, dtype="float32")
    raster = describe(write_pixels(tmp_path / "a.tif", pixels))
    averaged, valid = whole(raster.on_grid(raster.grid.regridded(cell_size=(2.0, 2.0))))
    np.testing.assert_allclose(averaged, pixels.reshape(2, 30, 2, 40, 2).mean(axis=(2, 4)), rtol=1e-5)
    assert valid.all()


def test_nodata_is_not_mixed_into_resampled_pixels(tmp_path):
    pixels = np.full((1, 40, 40), 100, "uint8")
    pixels[:, :, 20:] = 0
    raster = describe(place(tmp_path / "a.tif", pixels, nodata=0))
    read_back, valid = whole(raster.on_grid(raster.grid.regridded(cell_size=(1.3, 1.3))))
    assert set(np.unique(read_back[0][valid])) == {100}
    assert 0 < valid.sum() < valid.size


def test_threads_and_pickled_copies_read_the_same(raster):
    windows = [Window(r, c, 30, 40) for r in range(0, 60, 10) for c in range(0, 100, 10)]
    expected = [read_window(raster, window)[0] for window in windows]
    copy = pickle.loads(pickle.dumps(raster))
    assert copy == raster
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda window: read_window(copy, window)[0], windows * 4))
    for one, other in zip(found, expected * 4, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_process_reads_the_same(raster):
    window = Window(3, 4, 50, 60)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pixels, valid = pool.apply(read_window, (raster, window))
    np.testing.assert_array_equal(pixels, read_window(raster, window)[0])
    assert valid.all()


def test_a_handle_belongs_to_the_process_that_opened_it(raster, monkeypatch):
    mine = read._handle(raster)
    assert read._handle(raster) is mine
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked child
    theirs = read._handle(raster)
    assert theirs is not mine
    read._forget(raster)
    assert theirs.closed


def test_a_thread_keeps_only_a_few_files_open(tmp_path):
    rasters = [describe(write_raster(tmp_path / f"{i}.tif", height=9, width=9)) for i in range(HANDLES + 3)]

    def open_files():
        for raster in rasters:
            whole(raster)
        opened.append(count_open(tmp_path))

    opened = []
    thread = threading.Thread(target=open_files)
    thread.start()
    thread.join()
    assert opened == [HANDLES]
    assert count_open(tmp_path) == 0  # closed with the thread


def count_open(folder):
    """How many files under a folder this process holds open."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own handle is gone by now
            found += str(link.readlink()).startswith(str(folder))
    return found


def test_pixels_that_cannot_be_decoded_are_a_read_error_that_names_file_and_window(tmp_path):
    path = write_raster(tmp_path / "a.tif", height=200, width=200)
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[: len(whole_file) * 2 // 3])
    raster = describe(path)
    with pytest.raises(ReadError, match=r"a\.tif: Window\(row=0.*could not be read"):
        whole(raster)


def test_a_file_that_went_away_is_a_read_error_and_can_come_back(tmp_path):
    path = write_raster(tmp_path / "a.tif", height=20, width=20)
    raster = describe(path)
    path.rename(tmp_path / "away.tif")
    with pytest.raises(ReadError, match=r"a\.tif"):
        whole(raster)
    (tmp_path / "away.tif").rename(path)
    assert whole(raster)[1].all()


def test_code_in_a_virtual_raster_is_not_run(tmp_path):
    place(tmp_path / "a.tif", some(1))
    xml = f"""<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:32633</SRS>
    <GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform>
    <VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">
    <PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>
    <PixelFunctionCode>def f(*a, **k): open('{tmp_path}/ran', 'w')</PixelFunctionCode>
    <SimpleSource><SourceFilename>{tmp_path}/a.tif</SourceFilename></SimpleSource>
    </VRTRasterBand></VRTDataset>"""
    (tmp_path / "a.vrt").write_text(xml)
    with pytest.raises(ReadError):
        whole(describe(tmp_path / "a.vrt"))
    assert not (tmp_path / "ran").exists()


def test_bands_with_nodata_values_of_their_own_are_read_through_their_masks(tmp_path):
    pixels = some(2)
    pixels[:, 3, 4] = 0, 255
    pixels[:, 5, 6] = 0, 9
    place(tmp_path / "a.tif", pixels)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><NoDataValue>{nodata}</NoDataValue><SimpleSource>'
        f"<SourceFilename>{tmp_path}/a.tif</SourceFilename><SourceBand>{band}</SourceBand>"
        "</SimpleSource></VRTRasterBand>"
        for band, nodata in ((1, 0), (2, 255))
    )
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000, 1, 0, 5000000, 0, -1</GeoTransform>{bands}</VRTDataset>"
    )
    expected = np.ones((40, 50), bool)
    expected[3, 4] = False
    np.testing.assert_array_equal(whole(describe(tmp_path / "a.vrt"))[1], expected)


def test_a_window_beyond_the_raster_is_our_own_mistake(raster):
    with pytest.raises(AssertionError, match="reaches beyond"):
        read_window(raster, Window(0, 0, HEIGHT + 1, 5))


def test_reading_the_same_file_as_two_rasters_keeps_them_apart(raster):
    near = dataclasses.replace(raster, resampling="nearest")
    grid = raster.grid.regridded(cell_size=(3.0, 3.0))
    mean, nearest = raster.on_grid(grid), near.on_grid(grid, resampling="nearest")
    assert not np.array_equal(whole(mean)[0], whole(nearest)[0])
    np.testing.assert_array_equal(
        whole(nearest)[0], whole(raster)[0][:, 1::3, 1::3][:, : grid.height, : grid.width]
    )


@pytest.mark.parametrize("nodata", [None, 7])
@pytest.mark.parametrize(("down", "across"), [(3, 5), (-10, -20), (-100, 4), (0, 0)])
def test_a_grid_moved_by_whole_pixels_is_read_without_resampling(tmp_path, nodata, down, across):
    raster = describe(place(tmp_path / "a.tif", some(), nodata=nodata))
    grid = raster.grid.cropped(Window(down, across, 60, 70))
    pixels, valid = whole(raster.on_grid(grid, resampling="bilinear"))
    expected = np.full((3, 300, 300), nodata or 0, "uint8")
    seen = np.zeros((300, 300), bool)
    expected[:, 120:160, 120:170], seen[120:160, 120:170] = whole(raster)
    cut = Window(120 + down, 120 + across, 60, 70).slices
    np.testing.assert_array_equal(pixels, expected[:, *cut])
    np.testing.assert_array_equal(valid, seen[cut])


def test_a_moved_grid_in_an_array_reads_alike(tmp_path):
    path = place(tmp_path / "a.tif", some(dtype="float32"))
    file = describe(path)
    array = describe(open_raster(path) * 1)
    assert array.array is not None
    grid = file.grid.cropped(Window(-3, 4, 50, 60))
    for one, other in zip(whole(array.on_grid(grid)), whole(file.on_grid(grid)), strict=True):
        np.testing.assert_array_equal(one, other)
