"""Every real file either opens and reads a window or is refused in words that help."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window as GdalWindow

from rasterloom.models.errors import CrsError, RasterError, RasterloomError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import SUFFIXES, describe, open_raster
from rasterloom.pipeline.rasters.read import read_padded, read_window

FOLDER = Path(os.environ.get("RASTERLOOM_DATA") or "RASTERLOOM_DATA")


def zoo():
    """One file of each kind in each folder: many of them are chips of one image."""
    kinds = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            kinds.setdefault((path.parent, path.suffix), path)
    return [str(path.relative_to(FOLDER)) for path in kinds.values()]


def middle(raster):
    height, width = raster.grid.shape
    return Window(height // 3, width // 3, min(64, height - height // 3), min(64, width - width // 3))


def refusal(path):
    """What stands in the way of opening a file, in our words; None where it opens."""
    try:
        describe(path)
    except RasterloomError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", zoo() or ["none"])
def test_every_file_reads_or_says_why_not(data_folder, name):
    refused = refusal(data_folder / name)
    if refused is not None:
        assert Path(name).name in refused
        assert any(
            remedy in refused
            for remedy in ("convert", "give it", "give an item", "give those", "warp it", "open it", "bring")
        )
        return
    raster = describe(data_folder / name)
    window = middle(raster)
    pixels, valid = read_window(raster, window)
    assert pixels.shape == (raster.band_count, window.height, window.width)
    assert pixels.dtype == raster.dtype
    assert np.isfinite(pixels[:, valid]).all()
    padded, _ = read_padded(raster, Window(-8, -8, 20, 20))
    assert padded.shape == (raster.band_count, 20, 20)
    coarse = raster.on_grid(
        raster.grid.regridded(cell_size=tuple(2 * side for side in raster.grid.cell_size))
    )
    assert read_window(coarse, middle(coarse))[1].shape == (middle(coarse).height, middle(coarse).width)
    array = open_raster(raster)
    assert describe(array) == raster
    np.testing.assert_array_equal(array[:, *window.slices].values, pixels)


@pytest.mark.parametrize("suffix", [".tif", ".jp2", ".png", ".jpg"])
def test_the_zoo_has_the_usual_kinds(data_folder, suffix):
    assert suffix in SUFFIXES
    assert any(data_folder.rglob(f"*{suffix}"))


def test_the_chips_of_banepa_are_one_image_without_gaps(data_folder):
    raster = describe(data_folder / "buildings_banepa" / "train" / "oam")
    assert raster.grid.shape == (4096, 3072)
    for row in range(0, 4096, 1000):
        pixels, valid = read_window(raster, Window(row, 0, 8, 3072))
        assert valid.all()
        assert pixels.std() > 0


def opened(data_folder, name):
    return describe(data_folder / "raster_zoo" / name)


def everything(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def test_control_points_without_a_crs_are_refused_with_a_way_out(data_folder):
    with pytest.raises(CrsError, match=r"cog_gcps\.tif is placed by ground control points only: warp it"):
        opened(data_folder, "cog_gcps.tif")


@pytest.mark.parametrize("name", ["cog_rgb_mask.tif", "cog_rgba.tif"])
def test_an_internal_mask_and_an_alpha_band_say_the_same(data_folder, name):
    raster = opened(data_folder, name)
    assert raster.bands == ("Red", "Green", "Blue")
    with rasterio.open(data_folder / "raster_zoo" / name) as source:
        expected = source.dataset_mask() > 0
    _, valid = everything(raster)
    np.testing.assert_array_equal(valid, expected)
    assert 0 < valid.mean() < 1


def test_scaled_numbers_are_read_as_stored(data_folder):
    path = data_folder / "raster_zoo" / "cog_scale.tif"
    with rasterio.open(path) as source:
        assert source.scales != (1.0, 1.0)
        expected = source.read()
    np.testing.assert_array_equal(everything(describe(path))[0], expected)


def test_a_raster_across_the_antimeridian_reads_and_says_where_it_cannot_go(data_folder):
    raster = opened(data_folder, "cog_dateline.tif")
    assert everything(raster)[0].shape == (1, *raster.grid.shape)
    with pytest.raises(CrsError, match=r"crosses the antimeridian of EPSG:4326: choose another CRS"):
        raster.grid.regridded(crs="EPSG:4326")


def test_a_colour_map_stays_numbers_of_colours(data_folder):
    raster = opened(data_folder, "cog_cmap.tif")
    assert raster.indexed
    part = Window(4000, 3000, 300, 300)
    coarse = raster.on_grid(
        raster.grid.regridded(cell_size=tuple(3 * side for side in raster.grid.cell_size))
    )
    values = np.unique(read_window(coarse, Window(1000, 800, 300, 300))[0])
    assert set(values) <= set(np.unique(read_window(raster, Window(2900, 2300, 1100, 1100))[0])) | {0}
    assert read_window(raster, part)[0].dtype == "uint8"


def test_nodata_of_a_float_raster_and_of_another_planet(data_folder):
    raster = opened(data_folder, "cog_nodata_nan.tif")
    pixels, valid = everything(raster)
    np.testing.assert_array_equal(valid, (pixels[0] != raster.nodata) & np.isfinite(pixels[0]))
    europa = opened(data_folder, "cog_nonearth.tif")
    assert everything(europa)[1].any()
    with pytest.raises(CrsError, match="cannot"):
        europa.grid.regridded(crs="EPSG:4326")


def test_strips_read_like_tiles(data_folder):
    path = data_folder / "raster_zoo" / "nocog.tif"
    window = Window(1000, 1000, 200, 300)
    with rasterio.open(path) as source:
        expected = source.read(window=GdalWindow(window.col, window.row, window.width, window.height))
    np.testing.assert_array_equal(read_window(describe(path), window)[0], expected)


def test_a_world_of_648_million_pixels_opens_at_once_and_reads_by_windows(data_folder):
    raster = opened(data_folder, "cog_world.tif")
    assert raster.grid.shape == (18000, 36000)
    pixels, valid = read_padded(raster, Window(-100, 35900, 300, 300))
    assert pixels.shape == (1, 300, 300)
    assert valid.shape == (300, 300)


def test_mixed_resolutions_of_one_place_are_one_mosaic(data_folder):
    folder = data_folder / "pansharpen_spacenet"
    fine, coarse = sorted((describe(path) for path in folder.glob("*.tif")), key=lambda r: r.grid.cell_size)
    assert fine.band_count != coarse.band_count
    with pytest.raises(RasterError, match=r"pixel type|bands"):
        describe([fine.path, coarse.path])
    near_infrared = describe(next((data_folder / "timeseries_naip").glob("*.tif")))
    assert near_infrared.band_count == 4
    dates = sorted((data_folder / "timeseries_naip").glob("*.tif"))
    mosaic = describe([str(path) for path in dates])
    assert mosaic.grid.cell_size == pytest.approx((5.0, 5.0), rel=0.001)
    assert everything(mosaic)[1].mean() > 0.5


def test_scenes_of_far_zones_are_no_mosaic(data_folder):
    rasters = [describe(path) for path in sorted((data_folder / "s1_s2_lulc_terramesh").rglob("*.tif"))]
    first = rasters[0]
    others = [r for r in rasters if (r.band_count, r.dtype) == (first.band_count, first.dtype)]
    far = next(r for r in others if r.grid.crs != first.grid.crs)
    with pytest.raises(CrsError, match="cannot be laid beside the first part"):
        describe([first.path, far.path])
