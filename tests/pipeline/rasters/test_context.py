import math
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import transform, transform_bounds

from rasterloom.models.errors import CrsError, SettingError
from rasterloom.pipeline.rasters.context import (
    extent_window,
    mask_on,
    mask_window,
    parse_context,
    snap_grid,
    target_grid,
)
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import smooth_pixels, write_pixels, write_raster

KEYS = frozenset({"cellSize", "extent", "outSR"})


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    return describe(write_raster(tmp_path_factory.mktemp("r") / "a.tif", height=100, width=120))


def test_no_context_is_an_empty_one():
    assert parse_context(None, allowed=KEYS) == {}


def test_the_context_of_the_caller_is_not_shared():
    given = {"cellSize": 2}
    parse_context(given, allowed=KEYS)["extent"] = 1
    assert given == {"cellSize": 2}


@pytest.mark.parametrize("key", ["cellsize", 3, ""])
def test_an_unknown_key_lists_the_known_ones(key):
    with pytest.raises(SettingError, match="known are cellSize, extent, outSR"):
        parse_context({"cellSize": 1, key: 2}, allowed=KEYS)


@pytest.mark.parametrize("context", ["cellSize", 5, [("cellSize", 1)]])
def test_a_context_that_is_no_dictionary_is_refused(context):
    with pytest.raises(SettingError, match="give a dictionary"):
        parse_context(context, allowed=KEYS)


def test_without_settings_the_raster_keeps_its_grid(raster):
    assert target_grid(raster, {}) is raster
    assert extent_window(raster, {}) == Window(0, 0, 100, 120)


@pytest.mark.parametrize(
    ("cell", "shape"), [(2, (50, 60)), ("2", (50, 60)), ({"x": 3, "y": 2}, (50, 40)), (0.5, (200, 240))]
)
def test_a_cell_size_sets_the_grid(raster, cell, shape):
    assert target_grid(raster, {"cellSize": cell}).grid.shape == shape


@pytest.mark.parametrize("cell", [0, -1, math.nan, math.inf, "wide", {"x": 1}, [1, 2], 1000])
def test_a_cell_size_that_cannot_be_is_refused(raster, cell):
    with pytest.raises(SettingError, match=r"cellSize=|larger than the raster"):
        target_grid(raster, {"cellSize": cell})


@pytest.mark.parametrize("crs", ["EPSG:3857", 3857, {"wkid": 3857}, {"wkid": 102100, "latestWkid": 3857}])
def test_an_output_crs_sets_the_grid(raster, crs):
    target = target_grid(raster, {"outSR": crs})
    expected = transform_bounds(raster.grid.crs, "EPSG:3857", *raster.grid.bounds, densify_pts=101)
    assert target.grid.bounds == pytest.approx(expected, abs=2)
    assert target.native == raster.grid


def test_an_output_crs_and_a_cell_size_go_together(raster):
    target = target_grid(raster, {"outSR": "EPSG:3857", "cellSize": 5})
    assert target.grid.cell_size == (5.0, 5.0)


def test_nonsense_for_a_crs_is_refused(raster):
    with pytest.raises(CrsError, match="'over there' is not a coordinate reference system"):
        target_grid(raster, {"outSR": "over there"})


@pytest.mark.parametrize(
    ("extent", "window"),
    [
        ((500010, 4999950, 500030, 4999980), Window(20, 10, 30, 20)),
        ([500010.5, 4999950.5, 500029.5, 4999979.5], Window(20, 10, 30, 20)),
        ((0, 0, 500020, 9e6), Window(0, 0, 100, 20)),
        ({"xmin": 500010, "ymin": 4999950, "xmax": 500030, "ymax": 4999980}, Window(20, 10, 30, 20)),
    ],
)
def test_an_extent_sets_the_window(raster, extent, window):
    assert extent_window(raster, {"extent": extent}) == window


def test_an_extent_in_another_crs_covers_the_same_ground(raster):
    inner = (500020, 4999930, 500060, 4999970)
    west, south, east, north = transform_bounds(raster.grid.crs, "EPSG:4326", *inner)
    extent = {"xmin": west, "ymin": south, "xmax": east, "ymax": north, "spatialReference": {"wkid": 4326}}
    window = extent_window(raster, {"extent": extent})
    expected = raster.grid.window_of(inner)
    assert abs(window.row - expected.row) <= 1
    assert abs(window.col - expected.col) <= 1
    assert abs(window.height - expected.height) <= 2
    assert abs(window.width - expected.width) <= 2


def test_an_extent_that_does_not_meet_the_raster_shows_both(raster):
    with pytest.raises(SettingError, match=r"\(0\.0, 0\.0, 1\.0, 1\.0\).*500120\.0"):
        extent_window(raster, {"extent": (0, 0, 1, 1)})


@pytest.mark.parametrize(
    "extent",
    ["abcd", 5, (1, 2, 3), {"xmin": 1}, (5, 0, 1, 9), (0, 0, math.inf, 1), (math.nan, 0, 1, 1), (1, 1, 1, 1)],
)
def test_an_extent_that_is_none_is_refused(raster, extent):
    with pytest.raises(SettingError, match="extent="):
        extent_window(raster, {"extent": extent})


def test_an_extent_out_of_reach_of_the_crs_is_refused(raster):
    extent = {"xmin": 200, "ymin": 95, "xmax": 300, "ymax": 100, "spatialReference": 4326}
    with pytest.raises(CrsError, match="cannot"):
        extent_window(raster, {"extent": extent})


STEP = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("snap")


@pytest.fixture(scope="module")
def lattice(folder):
    return write_raster(folder / "snap.tif", height=10, width=10, origin=(500003, 5000007))


@pytest.mark.parametrize(
    "origin", [(500000, 5000000), (500003, 5000007), (499900, 5000333), (500034, 4999990)]
)
def test_a_snapped_grid_lies_on_the_steps_of_the_snap_raster(folder, lattice, origin):
    raster = describe(write_raster(folder / "a.tif", height=50, width=60, origin=origin))
    snapped, covered = snap_grid(raster, lattice, {}, step=STEP)
    west, south, east, north = snapped.grid.bounds
    assert (west - 500003) % STEP == (5000007 - north) % STEP == 0
    assert west <= origin[0] < west + STEP
    assert north - STEP < origin[1] <= north
    assert (east, south) == (raster.grid.bounds[2], raster.grid.bounds[1])
    assert snapped.grid.window_bounds(covered) == raster.grid.bounds
    pixels, valid = read_window(snapped, Window(0, 0, *snapped.grid.shape))
    np.testing.assert_array_equal(pixels[:, *covered.slices], read_window(raster, Window(0, 0, 50, 60))[0])
    assert valid.sum() == valid[covered.slices].sum() == 50 * 60


def test_chips_of_neighbours_with_one_snap_raster_coincide(folder, lattice):
    pixels = smooth_pixels(1, 80, 100)
    left = describe(write_pixels(folder / "l.tif", pixels[:, :, :70], origin=(500000, 5000000)))
    right = describe(write_pixels(folder / "r.tif", pixels[:, 10:, 30:], origin=(500030, 4999990)))
    chips = []
    for raster in (left, right):
        snapped, _ = snap_grid(raster, lattice, {}, step=STEP)
        found = {}
        for row in range(0, snapped.grid.height - STEP + 1, STEP):
            for col in range(0, snapped.grid.width - STEP + 1, STEP):
                chip, valid = read_window(snapped, Window(row, col, STEP, STEP))
                if valid.all():
                    found[snapped.grid.affine @ (col, row)] = chip
        chips.append(found)
    shared = chips[0].keys() & chips[1].keys()
    assert len(shared) >= 4
    for place in shared:
        np.testing.assert_array_equal(chips[0][place], chips[1][place])


def test_a_shift_by_part_of_a_pixel_is_resampled(folder, lattice):
    raster = describe(write_raster(folder / "half.tif", height=50, width=60, origin=(500000.5, 5000000)))
    snapped, covered = snap_grid(raster, lattice, {}, step=STEP)
    assert (snapped.grid.bounds[0] - 500003) % STEP == 0
    assert covered.width == 61
    middle = Window(covered.row + 10, covered.col + 10, 20, 20)
    pixels = read_window(raster, Window(10, 9, 20, 21))[0].astype(float)
    between = (pixels[:, :, :-1] + pixels[:, :, 1:]) / 2
    assert np.abs(read_window(snapped, middle)[0] - between).max() <= 1


@pytest.mark.parametrize("context", [{"cellSize": 2}, {"outSR": "EPSG:3857"}, {"outSR": 3857, "cellSize": 3}])
def test_a_cell_size_and_a_crs_go_with_a_snap_raster(folder, raster, context):
    crs = "EPSG:3857" if "outSR" in context else "EPSG:32633"
    origin = (1669000, 5646000) if "outSR" in context else (500003, 5000007)
    snap = write_raster(folder / f"{len(context)}{crs[5:]}.tif", height=9, width=9, crs=crs, origin=origin)
    snapped, covered = snap_grid(raster, snap, context, step=STEP)
    cell = snapped.grid.cell_size[0]
    steps = (snapped.grid.bounds[0] - origin[0]) / (cell * STEP)
    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert target_grid(raster, context).grid.cell_size[0] == pytest.approx(cell)
    assert 0 <= covered.row < STEP
    assert 0 <= covered.col < STEP
    assert (covered.row_stop, covered.col_stop) == snapped.grid.shape


def test_cells_that_are_nearly_the_snap_rasters_become_so(folder):
    raster = describe(write_raster(folder / "near.tif", height=50, width=60, cell=1.0001))
    lattice = write_raster(folder / "one.tif", height=9, width=9)
    assert snap_grid(raster, lattice, {}, step=STEP)[0].grid.cell_size == (1.0, 1.0)


def test_a_snap_raster_in_another_crs_is_refused(folder, raster):
    other = write_raster(folder / "other.tif", height=9, width=9, crs="EPSG:32634")
    with pytest.raises(CrsError, match=r"other\.tif is in another.*set outSR to its CRS"):
        snap_grid(raster, other, {}, step=STEP)
    with pytest.raises(SettingError, match="step=0 cannot work"):
        snap_grid(raster, raster, {}, step=0)


def test_a_rotated_snap_raster_is_refused(raster):
    turned = replace(raster.native, transform=tuple(raster.native.affine @ Affine.rotation(5))[:6])
    with pytest.raises(SettingError, match="is rotated"):
        snap_grid(raster, replace(raster, native=turned, grid=turned), {}, step=STEP)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:32634"])
def test_a_raster_mask_lets_through_what_is_not_0(folder, raster, crs):
    pixels = np.ones((1, 60, 60), "uint8")
    pixels[:, :20] = 0
    pixels[:, 30:32] = 9
    x, y = transform("EPSG:32633", crs, [500010], [4999990])
    path = write_pixels(folder / f"mask{crs[5:]}.tif", pixels, nodata=9, crs=crs, origin=(x[0], y[0]))
    mask = mask_on(path, raster.grid)
    through = mask_window(mask, Window(0, 0, 100, 120))
    assert through.shape == (100, 120)
    if crs == "EPSG:32633":
        expected = np.zeros((100, 120), bool)
        expected[30:70, 10:70] = True
        expected[40:42] = False
        np.testing.assert_array_equal(through, expected)
    else:  # turned by six degrees against the grid
        assert 1800 < through.sum() < 3000
    np.testing.assert_array_equal(mask_window(mask, Window(30, 20, 40, 9)), through[30:70, 20:29])
