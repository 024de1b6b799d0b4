import pandas
import pytest

from rasterloom.models.errors import LabelError
from rasterloom.pipeline.labels.classes import class_table, classes_of_features, default_color


def named(frame, field=None):
    classes, values = classes_of_features(pandas.DataFrame(frame), field)
    return [(c.value, c.name) for c in classes], values.tolist()


def test_a_text_field_numbers_its_sorted_texts():
    assert named({"kind": ["road", "field", "road"]}, "kind") == ([(1, "field"), (2, "road")], [2, 1, 2])


def test_a_number_field_keeps_its_values():
    assert named({"classvalue": [7, 3, 7]}) == ([(3, "3"), (7, "7")], [7, 3, 7])


def test_texts_that_are_numbers_count_as_numbers():
    assert named({"classvalue": ["10", "2", "2"]}) == ([(2, "2"), (10, "10")], [10, 2, 2])


def test_whole_numbers_kept_as_floats_are_taken():
    assert named({"Value": [1.0, 2.0]}) == ([(1, "1"), (2, "2")], [1, 2])


@pytest.mark.parametrize("field", ["classname", "Name"])
def test_names_come_from_a_field_beside_the_values(field):
    frame = {"ClassValue": [2, 1, 2], field: ["wood", "lake", "wood"]}
    assert named(frame)[0] == [(1, "lake"), (2, "wood")]


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "a", "a"], ["a", None, "a"]])
def test_names_that_do_not_go_one_to_one_are_left_out(names):
    assert named({"classvalue": [2, 1, 2], "name": names})[0] == [(1, "1"), (2, "2")]


def test_without_a_class_field_every_feature_is_class_one():
    assert named({"height": [3.5, 2.0]}) == ([(1, "1")], [1, 1])


def test_a_field_is_found_in_any_case():
    assert named({"Landuse": ["x"]}, "landuse") == ([(1, "x")], [1])


def test_an_absent_field_is_answered_with_the_fields_there_are():
    frame = pandas.DataFrame({"kind": ["a"], "height": [1.0]})
    with pytest.raises(LabelError, match=r"no field 'class'.*kind, height"):
        class_table(frame, "class")


@pytest.mark.parametrize("value", [-1, 70_000, 1.5])
def test_numbers_that_are_no_class_values_are_refused(value):
    with pytest.raises(LabelError, match="cannot be a class value"):
        named({"classvalue": [value, 1]})


def test_features_without_a_class_are_counted_in_the_message():
    with pytest.raises(LabelError, match="2 features have no value in field 'kind'"):
        named({"kind": ["a", None, None]}, "kind")


def test_the_first_hundred_colors_differ():
    colors = [default_color(index) for index in range(100)]
    assert len(set(colors)) == 100
    assert all(0 <= channel <= 255 for color in colors for channel in color)
