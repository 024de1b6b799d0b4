import numpy as np
import pytest

from rasterloom.models.contract import ClassInfo, Normalization
from rasterloom.models.errors import SettingError
from rasterloom.models.legend import (
    default_color,
    read_bands,
    read_classes,
    read_positions,
    read_scaling,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["water", "road"], [(1, "water"), (2, "road")]),
        (["Background", "road"], [(0, "Background"), (1, "road")]),
        ({2: "water", 7: "road"}, [(2, "water"), (7, "road")]),
        ([(2, "water"), (7, "road")], [(2, "water"), (7, "road")]),
        ([ClassInfo(4, "water", (1, 2, 3))], [(4, "water")]),
        (np.array([["5", "water"]]), [(5, "water")]),
    ],
)
def test_every_short_form_of_classes_is_understood(given, expected):
    assert [(c.value, c.name) for c in read_classes(given)] == expected


def test_colours_are_kept_and_those_not_given_differ():
    found = read_classes([(1, "a", (9, 8, 7)), (2, "b")])
    assert found[0].color == (9, 8, 7)
    assert len({default_color(value) for value in range(200)}) == 200
    assert default_color(0) == (0, 0, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "is empty"),
        ("water", "give names"),
        (3, "give names"),
        ({3: "a", 1: "b"}, "must ascend: output k"),
        ([(1, "a"), (1, "b")], "must ascend"),
        ([(0, "nothing")], "background alone"),
        ([(-1, "a")], "out of range"),
        ([(70_000, "a")], "out of range"),
        ([(1, "a", (0, 0, 256))], "out of range"),
        ([(1, "a", (0, 0))], "cannot be read"),
        ([("one", "a")], "cannot be read"),
        ([1, 2], "cannot be read"),
    ],
)
def test_classes_that_cannot_work_are_refused(given, message):
    with pytest.raises(SettingError, match=message):
        read_classes(given)


def test_bands_are_names_or_their_number():
    assert read_bands(2) == ("Band_1", "Band_2")
    assert read_bands(["red", "nir"]) == ("red", "nir")
    assert read_positions(None, 2) == (0, 1)
    assert read_positions([3, 0], 2) == (3, 0)


@pytest.mark.parametrize("given", [0, -1, True, "red", [], None, 2.5])
def test_bands_that_are_neither_are_refused(given):
    with pytest.raises(SettingError, match="their number or their names"):
        read_bands(given)


@pytest.mark.parametrize("given", [[0], [0, -1], [0, 1.5]])
def test_positions_that_do_not_fit_the_bands_are_refused(given):
    with pytest.raises(SettingError, match="each of the 2 bands"):
        read_positions(given, 2)


@pytest.mark.parametrize(
    ("given", "mean", "std"),
    [
        (None, (0, 0, 0), (1, 1, 1)),
        (255, (0, 0, 0), (255, 255, 255)),
        (np.float32(2), (0, 0, 0), (2, 2, 2)),
        ((10, 4), (10, 10, 10), (4, 4, 4)),
        (([1, 2, 3], np.array([4, 5, 6])), (1, 2, 3), (4, 5, 6)),
        (Normalization((1.0,) * 3, (2.0,) * 3), (1, 1, 1), (2, 2, 2)),
        ("ImageNet", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    ],
)
def test_scaling_is_in_the_units_of_the_raster(given, mean, std):
    found = read_scaling(given, 3)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)


@pytest.mark.parametrize(
    ("given", "count", "message"),
    [
        ("imagenet", 4, "is for 3 bands, not 4"),
        ("minmax", 3, "the only name is 'imagenet'"),
        ((1, 2, 3), 3, r"or \(mean, std\)"),
        (([1, 2], 3), 3, "one number or 3"),
        ((0, 0), 1, "above 0"),
        ((float("nan"), 1), 1, "one number or 1"),
        (True, 1, "a number to divide by"),
    ],
)
def test_scaling_that_cannot_work_is_refused(given, count, message):
    with pytest.raises(SettingError, match=message):
        read_scaling(given, count)
