"""Mosaics of parts that differ in CRS, cell size or orientation."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from rasterloom.models.errors import CrsError, RasterError, SettingError
from rasterloom.pipeline.rasters import read
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import smooth_pixels, write_pixels, write_raster

WEST, NORTH = 500000.0, 5000000.0


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def placed(path, pixels, affine, **options):
    count, height, width = pixels.shape
    profile = {"count": count, "height": height, "width": width, "dtype": pixels.dtype, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", driver="GTiff", transform=affine, **profile | options) as target:
        target.write(pixels)
    return path


def beside(tmp_path, kind, *, nodata=None, dtype="uint8"):
    """A first part of one-metre cells, and one to the east of it that does not fit its grid."""
    first = write_raster(tmp_path / "a.tif", height=60, width=70, nodata=nodata, dtype=dtype)
    pixels = smooth_pixels(3, 50, 40, dtype=dtype, seed=3)
    if nodata is not None:
        pixels[:, 5:9, 6:12] = nodata
    corner = Affine.translation(WEST + 65.3, NORTH - 8.2)
    turn = {
        "coarse": Affine.scale(2.3, -2.3),
        "fine": Affine.scale(0.4, -0.4),
        "rotated": Affine.rotation(20) @ Affine.scale(1, -1),
        "south-up": Affine.translation(0, -50) @ Affine.scale(1, 1),
    }.get(kind)
    if turn is not None:
        second = placed(tmp_path / "b.tif", pixels, corner @ turn, nodata=nodata)
    else:
        second = tmp_path / "b.tif"
        x, y = rasterio.warp.transform("EPSG:32633", kind, [WEST + 65], [NORTH - 8])
        cell = 1e-5 if kind == "EPSG:4326" else 1.2
        write_pixels(second, pixels, crs=kind, cell=cell, nodata=nodata, origin=(x[0], y[0]))
    return [first, second]


KINDS = ["coarse", "fine", "rotated", "south-up", "EPSG:32634", "EPSG:4326", "EPSG:3857"]


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_does_not_fit_reads_as_if_it_were_put_on_the_grid_alone(tmp_path, kind, nodata):
    first, second = beside(tmp_path, kind, nodata=nodata)
    raster = describe([second, first][::-1])
    assert raster.grid.cell_size == describe(first).grid.cell_size
    pixels, valid = whole(raster)
    alone, there = whole(describe(second).on_grid(raster.grid))
    row, col = (round(value) for value in (raster.grid.bounds[3] - NORTH, WEST - raster.grid.bounds[0]))
    spot = Window(row, col, 60, 70).slices
    below, below_valid = np.zeros_like(pixels), np.zeros_like(valid)
    below[:, *spot], below_valid[spot] = whole(describe(first))
    np.testing.assert_array_equal(valid, there | below_valid)
    assert 0 < there.sum() < there.size
    expected = np.where(there, alone, below)
    seen = valid if nodata is None else valid & ~((alone == 0).any(axis=0) & there)
    # sums of the same pixels from another origin: one in a thousand is rounded the other way
    apart = np.abs(pixels[:, seen].astype(int) - expected[:, seen].astype(int))
    assert apart.max() <= 1
    assert apart.mean() < 0.002


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", None), ("float32", 0)])
def test_pixels_of_a_mixed_mosaic_do_not_depend_on_the_window(tmp_path, kind, dtype, nodata):
    raster = describe(beside(tmp_path, kind, dtype=dtype, nodata=nodata))
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


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_what_a_turned_part_does_not_cover_hides_nothing(tmp_path, dtype, bands):
    below = np.full((bands, 40, 40), 50, dtype)
    above = np.full((bands, 20, 20), 100, dtype)
    plain = {"photometric": "MINISBLACK", "alpha": "NO"}
    corner = Affine.translation(WEST, NORTH)
    first = placed(tmp_path / "a.tif", below, corner @ Affine.scale(1, -1), **plain)
    turn = Affine.translation(20, -10) @ Affine.rotation(45) @ Affine.scale(1, -1)
    second = placed(tmp_path / "b.tif", above, corner @ turn, **plain)
    pixels, valid = whole(describe([first, second]))
    spot = describe([first, second]).grid.window_of((WEST, NORTH - 40, WEST + 40, NORTH)).slices
    assert valid[spot].all()
    assert set(np.unique(pixels[:, *spot].round(6))) == {50, 100}
    assert 300 < (pixels[0][spot].round(6) == 100).sum() < 420
    assert set(np.unique(pixels[:, valid].round(6))) == {50, 100}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_alpha_bands_of_any_type_and_count_say_what_is_valid(tmp_path, dtype):
    for col, bands in ((0, 5), (20, 5)):
        pixels = np.full((bands, 20, 20), 100, dtype)
        pixels[-1], pixels[-1, :5] = 255, 0
        path = placed(
            tmp_path / f"{col}.tif", pixels, Affine(1, 0, WEST + col, 0, -1, NORTH), photometric="RGB"
        )
        with rasterio.open(path, "r+") as target:
            target.colorinterp = [*target.colorinterp[:-1], ColorInterp.alpha]
    raster = describe(tmp_path, alpha="mask")
    assert raster.band_count == 4
    valid = whole(raster)[1]
    assert not valid[:5].any()
    assert valid[5:].all()
    coarse = raster.on_grid(raster.grid.regridded(cell_size=(5.0, 5.0)))
    np.testing.assert_array_equal(whole(coarse)[1], valid[::5, ::5])


def test_parts_that_fit_stay_pixel_for_pixel_beside_one_that_does_not(tmp_path):
    pixels = smooth_pixels(3, 40, 90)
    for col in (0, 30, 60):
        write_pixels(tmp_path / f"a{col}.tif", pixels[:, :, col : col + 30], origin=(WEST + col, NORTH))
    write_raster(tmp_path / "z.tif", height=10, width=10, cell=3.0, origin=(WEST + 95, NORTH))
    raster = describe(tmp_path)
    read_back, valid = read_window(raster, Window(0, 0, 40, 90))
    np.testing.assert_array_equal(read_back, pixels)
    assert valid.all()


def test_the_resampling_of_parts_can_be_chosen(tmp_path):
    paths = beside(tmp_path, "coarse")
    nearest = describe(paths, resampling="nearest")
    values = np.unique(whole(describe(paths[1]))[0])
    beyond = read_window(nearest, Window(20, 75, 40, 60))
    assert np.isin(beyond[0][:, beyond[1]], values).all()
    assert nearest.etag != describe(paths).etag
    with pytest.raises(SettingError, match="resampling='best' is not known"):
        describe(paths, resampling="best")


def test_a_turned_first_part_gives_a_north_up_grid_of_its_cell_size(tmp_path):
    first = placed(
        tmp_path / "a.tif",
        smooth_pixels(3, 30, 40),
        Affine.translation(WEST, NORTH) @ Affine.rotation(30) @ Affine.scale(2, -2),
    )
    second = write_raster(tmp_path / "b.tif", height=30, width=40, origin=(WEST + 50, NORTH))
    raster = describe([first, second])
    assert raster.grid.transform[1] == raster.grid.transform[3] == 0
    assert raster.grid.cell_size == pytest.approx((2.0, 2.0))
    assert 0 < whole(raster)[1].mean() < 1


def test_an_alpha_band_of_a_part_that_is_warped_says_what_is_valid(tmp_path):
    first = write_raster(tmp_path / "a.tif", height=20, width=20)
    pixels = smooth_pixels(4, 20, 20)
    pixels[3], pixels[3, :10] = 255, 0
    affine = Affine(2, 0, WEST + 20, 0, -2, NORTH)
    second = placed(tmp_path / "b.tif", pixels, affine, photometric="RGB", alpha="YES")
    raster = describe([first, second])
    assert raster.band_count == 3
    valid = whole(raster)[1]
    assert not valid[:20, 20:].any()
    assert valid[21:40, 20:60].all()


def test_a_pinned_mixed_mosaic_reads_the_same_and_opens_as_an_array(tmp_path):
    raster = describe(beside(tmp_path, "EPSG:32634"))
    small = pinned(raster, tmp_path / "run")
    assert len(small.path) < 300
    np.testing.assert_array_equal(whole(small)[0], whole(raster)[0])
    np.testing.assert_array_equal(open_raster(raster, chunks=64).values, whole(raster)[0])


def test_a_part_out_of_reach_of_the_first_ones_crs_is_refused(tmp_path):
    first = write_raster(tmp_path / "a.tif", height=10, width=10)
    pole = write_raster(tmp_path / "b.tif", height=10, width=10, crs="EPSG:4326", cell=1, origin=(200, 105))
    with pytest.raises(CrsError, match="cannot"):
        describe([first, pole])


def test_parts_that_only_one_reader_knows_are_not_laid_together(tmp_path):
    import fsspec

    path = write_raster(tmp_path / "a.tif", height=10, width=10)
    fsspec.filesystem("memory").pipe("/mosaic/a.tif", path.read_bytes())
    with pytest.raises(RasterError, match="can be read by itself only"):
        describe([path, "memory://mosaic/a.tif"])
