"""Class values and their positions."""

import numpy as np
import pytest

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.datasets.classes import Remapping, label_table, pixel_table

CLASSES = tuple(ClassInfo(v, f"c{v}", (v, v, v)) for v in (1, 3, 5, 8))
PIXELS = {0: 10, 1: 1, 3: 1, 5: 1, 8: 1}
MASK = np.array([[0, 1, 3], [5, 8, 1]])


def shown(table, values):
    return [[-1 if p < 0 else p for p in row] for row in table.of(values).tolist()]


def test_values_stand_in_ascending_order_after_the_background():
    table = pixel_table(CLASSES, Remapping(), None, PIXELS)
    assert table.lookup[MASK].tolist() == [[0, 1, 2], [3, 4, 1]]
    assert shown(table, MASK) == [[0, 1, 2], [3, 4, 1]]
    assert label_table(CLASSES, Remapping(), None, first=0).of(np.array([8, 1, 4])).tolist() == [3, 0, -1]
    assert label_table(CLASSES, Remapping(), None, first=1).of(np.array([8, 1, 4])).tolist() == [4, 1, -1]


def test_a_value_may_be_negative_in_labels():
    classes = (ClassInfo(-4, "under", (0, 0, 0)), ClassInfo(2, "over", (0, 0, 0)))
    table = label_table(classes, Remapping(), None, first=1)
    assert table.of(np.array([2, -4])).tolist() == [2, 1]


def test_classes_become_one_when_their_values_do():
    table = pixel_table(CLASSES, Remapping(remap={3: 1, 8: 9}), {9: "new"}, PIXELS)
    assert [(c.value, c.name) for c in table.classes] == [(1, "c1"), (5, "c5"), (9, "new")]
    assert table.lookup[MASK].tolist() == [[0, 1, 1], [2, 3, 1]]


def test_a_value_remapped_to_nothing_is_background():
    table = pixel_table(CLASSES, Remapping(remap={3: 0}), None, PIXELS)
    assert [c.value for c in table.classes] == [1, 5, 8]
    assert table.lookup[MASK].tolist() == [[0, 1, 0], [2, 3, 1]]


@pytest.mark.parametrize(
    ("background", "classes", "positions"),
    [
        (None, [1, 3, 5, 8], [[0, 1, 2], [3, 4, 1]]),
        (True, [3, 5], [[0, 0, 1], [2, 0, 0]]),
        (0, [3, 5], [[0, 0, 1], [2, 0, 0]]),
        (8, [3, 5, 8], [[3, 3, 1], [2, 3, 3]]),
    ],
)
def test_other_classes_than_those_of_interest_become_background(background, classes, positions):
    changes = Remapping(interest=(3, 5), background=background)
    table = pixel_table(CLASSES, changes, None, PIXELS)
    assert [c.value for c in table.classes] == classes
    assert table.lookup[MASK].tolist() == positions
    assert table.values[table.interest].tolist() == [3, 5]


def test_objects_of_no_interest_are_dropped():
    table = label_table(CLASSES, Remapping(interest=(3,), background=True), None, first=1)
    assert table.of(np.array([1, 3, 5])).tolist() == [-1, 1, -1]


def test_columns_of_classes_that_become_one_are_joined():
    table = label_table(CLASSES, Remapping(remap={8: 1}), None, first=0)
    labels = np.array([[0, 1, 0, 1], [0, 0, 1, 0]], np.uint8)
    assert table.of_columns(labels).tolist() == [[1, 1, 0], [0, 0, 1]]


def test_values_and_names_that_do_not_exist_are_refused():
    with pytest.raises(StoreError, match=r"values \[7\] that are no classes"):
        pixel_table(CLASSES, Remapping(), None, {**PIXELS, 7: 2})
    with pytest.raises(SettingError, match="below 0"):
        pixel_table(CLASSES, Remapping(remap={1: -1}), None, PIXELS)
    with pytest.raises(SettingError, match=r"class_mapping names \[3\].*\[1, 5, 8\]"):
        pixel_table(CLASSES, Remapping(remap={3: 1}), {3: "gone"}, PIXELS)
    with pytest.raises(StoreError, match="no class"):
        pixel_table(CLASSES, Remapping(remap={1: 0, 3: 0, 5: 0, 8: 0}), None, PIXELS)
    with pytest.raises(StoreError, match="no class"):
        label_table((), Remapping(), None, first=1)
