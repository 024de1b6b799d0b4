"""Two layers are brought onto one ground and to one set of classes."""

import warnings
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

from rasterloom.models.errors import CrsError, LabelError
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.reports.detection_layers import (
    ClassKeys,
    Fields,
    Ground,
    check_classes,
    read_objects,
)


def _layer(crs: Any = 32633, boxes: Any = ((0, 0, 1, 1), (2, 2, 4, 4)), **columns: Any) -> FeatureSource:
    geometry = [shapely.box(*box) for box in boxes]
    return FeatureSource.of(geopandas.GeoDataFrame(columns, geometry=geometry, crs=crs))


def _fields(detected: FeatureSource, truth: FeatureSource, **named: Any) -> Fields:
    wanted = {"detected_field": None, "truth_field": None, "score_field": None} | named
    return Fields.of(detected, truth, **wanted)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("Class", "ClassValue"), ("Classvalue",), ("ClassValue", "Classvalue", "Class")),
        (("Class", "ClassValue"), ("Class",), ("Class", "Class", None)),
        (("Class", "ClassValue"), ("class", "VALUE"), ("ClassValue", "VALUE", "Class")),
        (("Class",), ("ClassName",), ("Class", "ClassName", None)),
        (("name",), ("name",), (None, None, None)),
        (("kind",), ("kind",), (None, None, None)),
    ],
)
def test_class_fields_that_both_have_are_found(
    ours: tuple[str, ...], theirs: tuple[str, ...], expected: tuple[str | None, ...]
) -> None:
    layers = (_layer(**{name: ["1", "2"] for name in names}) for names in (ours, theirs))
    fields = _fields(*layers)
    assert (fields.detected, fields.truth, fields.name) == expected


def test_a_named_field_decides_which_one_the_other_layer_is_asked_for() -> None:
    detected, truth = _layer(Class=["a", "b"], ClassValue=[1, 2]), _layer(kind=[1, 2])
    fields = _fields(detected, truth, truth_field="KIND")
    assert (fields.detected, fields.truth) == ("ClassValue", "kind")
    both = _layer(ClassValue=[1, 2], Class=["a", "b"])
    fields = _fields(detected, both, detected_field="Class")  # its like, though values come first
    assert (fields.detected, fields.truth) == ("Class", "Class")
    with pytest.raises(LabelError, match=r"no field 'sort': its fields are kind"):
        _fields(detected, truth, truth_field="sort")


def test_a_message_lists_some_of_many_fields() -> None:
    many = _layer(**{f"field{number}": [1, 2] for number in range(40)})
    with pytest.raises(LabelError, match="field11 and 28 more"):
        _fields(many, many, detected_field="sort")


def test_a_layer_without_classes_makes_all_objects_one_class() -> None:
    detected, truth = _layer(ClassValue=[1, 2], Confidence=[0.5, 0.7]), _layer(height=[3, 4])
    with pytest.warns(UserWarning, match=r"no class field \(its fields are height\)"):
        fields = _fields(detected, truth)
    assert (fields.detected, fields.truth, fields.score) == (None, None, "Confidence")


def test_values_and_names_are_compared_as_text_and_shown_by_name() -> None:
    detected, truth = _layer(ClassValue=[1, 2], Class=["house", "tree"]), _layer(ClassValue=[2.0, 1.0])
    keys, ground = ClassKeys(), Ground(detected.crs)
    ours = read_objects(detected, ground, keys, field="ClassValue", name="Class")
    theirs = read_objects(truth, ground, keys, field="ClassValue")
    assert keys.keys == ["1", "2"]
    assert keys.names() == ["house", "tree"]
    assert ours.labels.tolist() == [1, 2]
    assert theirs.labels.tolist() == [2, 1]


def test_two_classes_of_one_name_are_told_apart() -> None:
    keys = ClassKeys()
    layer = _layer(ClassValue=[1, 2], Class=["house", "house"])
    read_objects(layer, Ground(layer.crs), keys, field="ClassValue", name="Class")
    assert keys.names() == ["house (1)", "house (2)"]


def test_truth_in_another_crs_is_brought_to_the_detections() -> None:
    boxes = ((500_000, 5_000_000, 500_010, 5_000_020), (500_100, 5_000_000, 500_150, 5_000_010))
    truth = geopandas.GeoDataFrame(geometry=[shapely.box(*box) for box in boxes], crs=32633).to_crs(4326)
    source = FeatureSource.of(truth)
    layer = read_objects(source, Ground(_layer().crs), ClassKeys(), field=None)
    np.testing.assert_allclose(layer.boxes, boxes, atol=1e-5)


def test_a_layer_without_a_crs_is_named() -> None:
    bare = _layer(crs=None)
    with pytest.raises(CrsError, match="GeoDataFrame has no coordinate reference system and the detections"):
        read_objects(bare, Ground(_layer().crs), ClassKeys(), field=None)
    assert len(read_objects(bare, Ground(None), ClassKeys(), field=None)) == 2


def test_only_what_lies_completely_within_the_masks_counts() -> None:
    masks = geopandas.GeoDataFrame(
        geometry=[shapely.box(0, 0, 3, 5), shapely.box(3, 0, 3.5, 5)], crs="EPSG:32633"
    )
    detected = _layer(boxes=((0, 0, 1, 1), (2.5, 1, 3.2, 2), (3, 1, 4, 2)))
    ground = Ground.of(detected, masks, None)
    assert read_objects(detected, ground, ClassKeys(), field=None).inside.tolist() == [True, True, False]
    both = Ground.of(detected, masks, shapely.box(0, 0, 3, 9))
    assert read_objects(detected, both, ClassKeys(), field=None).inside.tolist() == [True, False, False]
    with pytest.raises(LabelError, match="no ground to assess"):
        Ground.of(detected, masks, shapely.box(7, 7, 9, 9))
    points = geopandas.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:32633")
    with pytest.raises(LabelError, match="has no polygons"):
        Ground.of(detected, points, None)


def test_what_has_no_area_does_not_count() -> None:
    frame = geopandas.GeoDataFrame(
        geometry=[shapely.box(0, 0, 1, 1), None, shapely.Polygon(), shapely.Point(0, 0)], crs=32633
    )
    layer = read_objects(FeatureSource.of(frame), Ground(_layer().crs), ClassKeys(), field=None)
    assert layer.inside.tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("column", "said"),
    [([1.0, np.nan], "1 features without a confidence"), (["high", "low"], "which is no confidence")],
)
def test_confidences_that_are_no_numbers_are_named(column: list[Any], said: str) -> None:
    layer = _layer(Confidence=column)
    with pytest.raises(ValueError, match=said):
        read_objects(layer, Ground(layer.crs), ClassKeys(), field=None, score="Confidence")


def test_features_without_a_class_are_named() -> None:
    layer = _layer(Class=["house", None])
    with pytest.raises(LabelError, match=r"1 of 2 features .* have no class"):
        read_objects(layer, Ground(layer.crs), ClassKeys(), field="Class")


def test_classes_of_one_layer_only_are_told() -> None:
    def read(*names: str) -> tuple[Any, Any, list[str], Fields]:
        layers, keys = (_layer(Class=list(names[:2])), _layer(Class=list(names[2:]))), ClassKeys()
        both = [read_objects(layer, Ground(layer.crs), keys, field="Class") for layer in layers]
        return both[0], both[1], keys.keys, _fields(*layers)

    with pytest.warns(UserWarning, match=r"\['tree'\] are classes of the truth"):
        check_classes(*read("house", "house", "house", "tree"))
    with pytest.warns(UserWarning, match=r"\['tree'\] are detected classes"):
        check_classes(*read("house", "tree", "house", "house"))
    with pytest.raises(LabelError, match=r"'Class' of the GeoDataFrame holds \['house'\].*\['1', '2'\]"):
        check_classes(*read("house", "house", "1", "2"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_classes(*read("house", "tree", "tree", "house"))
