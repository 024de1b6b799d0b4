import math

import pytest
from rasterio.warp import transform_bounds

from rasterloom.models.errors import CrsError, SettingError
from rasterloom.pipeline.rasters.context import extent_window, parse_context, target_grid
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from tests.support.rasters import write_raster

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
