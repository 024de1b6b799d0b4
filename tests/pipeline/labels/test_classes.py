import pandas
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import LabelError
from rasterloom.pipeline.labels.classes import class_table, class_table_of, classes_of_features, default_color


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


def test_negative_values_are_classes_where_they_are_asked_for():
    frame = pandas.DataFrame({"classvalue": [-3, 4, -3], "name": ["pit", "hill", "pit"]})
    table = class_table(frame, None, negative=True)
    assert [(c.value, c.name) for c in table.classes] == [(-3, "pit"), (4, "hill")]
    assert table.values_of(frame).tolist() == [-3, 4, -3]
    with pytest.raises(LabelError, match="from -2147483648 to 2147483647"):
        class_table(pandas.DataFrame({"classvalue": [2**31]}), None, negative=True)


def test_more_than_255_classes_are_kept():
    table = class_table(pandas.DataFrame({"kind": [f"Straße {n:04d}" for n in range(700)]}), "kind")
    assert (table.classes[-1].value, table.classes[-1].name) == (700, "Straße 0699")


def test_a_field_that_differs_for_every_feature_is_no_class_field():
    with pytest.raises(LabelError, match="more than 65535 different values"):
        class_table(pandas.DataFrame({"id": [f"b{n}" for n in range(70_000)]}), "id")


FRAMES = st.fixed_dictionaries(
    {
        "classvalue": st.sampled_from([[1, 2, 3], ["a", "b", "10"], [1.0, 2.0, 2.0], ["7", "8", "9"]]),
        "name": st.sampled_from([["x", "y", "z"], ["x", "x", "z"], ["x", None, "z"]]),
        "rows": st.lists(st.integers(0, 2), min_size=1, max_size=12),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(given_frame=FRAMES, step=st.integers(1, 4))
def test_classes_do_not_depend_on_the_blocks_that_attributes_come_in(given_frame, step):
    rows = given_frame["rows"]
    columns = {key: [given_frame[key][row] for row in rows] for key in ("classvalue", "name")}
    frame = pandas.DataFrame(columns)
    blocks = [frame.iloc[start : start + step] for start in range(0, len(frame), step)]
    assert class_table_of(blocks, "classvalue") == class_table(frame, "classvalue")
