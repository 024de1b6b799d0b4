"""STAC items say where a file lies, or that nobody knows."""

import json
import math

import pytest

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.outputs.raster import OutputRaster
from rasterloom.pipeline.outputs.stac import collection, item
from rasterloom.pipeline.rasters.grid import Grid, read_crs

CLASSES = (ClassInfo(1, "Field", (200, 180, 90)),)
UTM = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 1000, 2000)
LOCAL = Grid(
    'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]',
    (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    10,
    20,
)


def test_an_item_says_where_its_file_lies_and_what_it_holds() -> None:
    what = OutputRaster.class_map(UTM, "uint8", 255, CLASSES, {1: 4})
    told = json.loads(json.dumps(item(what, "map_0_1.tif", "map_0_1.tif.aux.xml")))
    assert told["id"] == "map_0_1"
    assert told["collection"] == "map"
    west, south, east, north = told["bbox"]
    assert (west, north) == pytest.approx((15.0, 45.153), abs=0.001)
    ring = told["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert all(west - 1e-9 <= x <= east + 1e-9 and south - 1e-9 <= y <= north + 1e-9 for x, y in ring)
    assert told["properties"]["proj:code"] == "EPSG:32633"
    assert told["properties"]["proj:shape"] == [1000, 2000]
    data = told["assets"]["data"]
    assert data["href"] == "./map_0_1.tif"
    assert data["raster:bands"][0]["nodata"] == 255
    assert data["classification:classes"] == [{"value": 1, "name": "Field", "color_hint": "C8B45A"}]
    assert told["assets"]["names"]["href"] == "./map_0_1.tif.aux.xml"


def test_probabilities_say_their_scale_and_that_nan_is_nodata() -> None:
    whole = item(OutputRaster.probabilities(UTM, "uint8", CLASSES), "p_0_0.tif", None)
    assert whole["assets"]["data"]["raster:bands"][0]["scale"] == 1 / 254
    number = item(OutputRaster.probabilities(UTM, "float32", CLASSES), "p_0_0.tif", None)
    assert number["assets"]["data"]["raster:bands"][0]["nodata"] == "nan"
    assert math.isnan(OutputRaster.probabilities(UTM, "float32", CLASSES).nodata or 0)
    assert set(number["assets"]) == {"data"}


def test_a_grid_that_has_no_place_on_the_globe_has_no_outline() -> None:
    what = OutputRaster.class_map(LOCAL, "uint8", 255, CLASSES, {})
    told = item(what, "map_0_0.tif", None)
    assert told["geometry"] is None
    assert "bbox" not in told
    assert told["properties"]["proj:code"] is None
    assert told["properties"]["proj:wkt2"] == LOCAL.crs
    assert collection(what, "map", [])["extent"]["spatial"]["bbox"] == [[-180, -90, 180, 90]]
