"""A vector function's findings come out as geometries in pixels, with a class and a share of confidence."""

import json

import numpy as np
import pytest
import shapely

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.objects import VectorFunction, confidence_of
from rasterloom.pipeline.functions.tiles import FunctionTile
from tests.support.functions import BOXES, function_files

BODY = """
import json
class Script:
    def getConfiguration(self, **scalars):
        return {{"padding": 2, "tx": 6, "ty": 6}}
    def getGeometryType(self):
        return {kind}
    def vectorize(self, **pixelBlocks):
        return {returned}
"""


def _tile(pixels: np.ndarray) -> FunctionTile:
    return FunctionTile(pixels, np.ones(pixels.shape[1:], bool), (0.0, 0.0))


def _found(features: object, kind: int = 4):
    returned = "{'output_vectors': " + repr(json.dumps({"features": features})) + "}"
    function = VectorFunction(function_files("Script", BODY.format(kind=kind, returned=returned)), None)
    return function.run(_tile(np.zeros((1, 10, 10), np.uint8)))


def test_a_box_may_reach_into_the_padding():
    function = VectorFunction(function_files("Boxes", BOXES), None)
    assert function.configuration.seen == (48, 48)
    assert function.geometry_type() == "polygon"
    assert [row["name"] for row in function.fields()] == ["OID", "Class", "Confidence"]
    pixels = np.zeros((1, 48, 48), np.uint8)
    pixels[0, 3:11, 20:30] = 250
    (box,) = function.run(_tile(pixels))
    assert box.geometry.equals(shapely.box(12, -5, 22, 3))
    assert (box.label, box.confidence) == ("bright", 0.875)
    assert box.attributes["OID"] == 1
    assert function.run(_tile(np.zeros_like(pixels))) == []


@pytest.mark.parametrize(
    ("said", "share"),
    [
        (87.5, 0.875),
        (0.5, 0.005),
        (100, 1.0),
        ("0.93", 0.93),
        ("1", 1.0),
        ("93.0", 0.93),
        (None, None),
        ("", None),
    ],
)
def test_numbers_are_percent_and_texts_are_shares(said, share):
    assert confidence_of(said) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize("said", [101, -1, "nan", "much"])
def test_a_confidence_that_is_none_is_refused(said):
    with pytest.raises(ValueError, match=r"confidence|convert"):
        confidence_of(said)


def test_rings_make_holes_and_islands_whichever_way_they_are_drawn():
    def square(low, high):
        return [[low, low], [high, low], [high, high], [low, high], [low, low]]

    rings = [square(0, 10), square(2, 8)[::-1], square(4, 6), square(20, 22)]
    (found,) = _found([{"geometry": {"rings": rings}}])
    assert found.geometry.area == 100 - 36 + 4 + 4
    assert found.geometry.contains(shapely.Point(5, 5))
    assert not found.geometry.contains(shapely.Point(3, 5))
    assert (found.label, found.confidence) == (None, None)


def test_points_and_lines_are_found_too():
    features = [
        {"attributes": {"Label": 3}, "geometry": {"x": 1, "y": 2}},
        {"attributes": {"Classname": "b"}, "geometry": {"points": [[1, 2], [3, 4]]}},
        {"attributes": {"class": "c", "Score": "0.25"}, "geometry": {"paths": [[[0, 0], [0, 5]]]}},
        {"geometry": {"paths": [[[0, 0], [0, 5]], [[1, 1], [2, 2]]]}},
    ]
    found = _found(features, kind=3)
    assert [f.geometry.geom_type for f in found] == ["Point", "MultiPoint", "LineString", "MultiLineString"]
    assert [f.label for f in found] == ["3", "b", "c", None]
    assert found[2].confidence == 0.25


@pytest.mark.parametrize(
    "features",
    [
        None,
        [{}],
        [{"geometry": {"rings": []}}],
        [{"geometry": {"rings": [[[0, 0]]]}}],
        [{"geometry": {"x": float("nan"), "y": 0}}],
        [{"geometry": {"x": 0, "y": 0}, "attributes": {"Confidence": 250}}],
    ],
)
def test_what_is_no_feature_set_is_refused(features):
    with pytest.raises(PackageError, match="output_vectors cannot be read"):
        _found(features)


def test_no_answer_is_refused():
    function = VectorFunction(function_files("Script", BODY.format(kind=9, returned="{}")), None)
    with pytest.raises(PackageError, match="returns no output_vectors"):
        function.run(_tile(np.zeros((1, 10, 10), np.uint8)))
    with pytest.raises(PackageError, match="getGeometryType says 9"):
        function.geometry_type()
