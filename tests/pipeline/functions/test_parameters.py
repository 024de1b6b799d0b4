"""What functions are told: text, the caller's values before the defaults."""

import pytest

from rasterloom.models.errors import PackageError, SettingError
from rasterloom.pipeline.functions.parameters import read_parameters

ROWS = [
    {"name": "photo", "dataType": "raster", "required": True},
    {"name": "model", "dataType": "string", "required": True},
    {"name": "padding", "dataType": "numeric", "value": 56, "required": False},
    {"name": "share", "dataType": "GPDouble", "value": 0.5},
    {"name": "quick", "dataType": "string", "value": False, "domain": ("True", "False"), "required": False},
    {"name": "key", "dataType": "string", "value": None, "required": True},
    {"name": "note", "dataType": "string", "value": None, "required": False},
]


def test_everything_is_told_as_text():
    parameters = read_parameters(ROWS, source="m")
    assert parameters.raster == "photo"
    assert not parameters.several
    told = parameters.told({"key": 7, "quick": True, "share": " 0.25 "}, source="m")
    assert told == {"padding": "56", "share": "0.25", "quick": "True", "key": "7"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"key": 1, "paddin": 3}, r"'paddin' is not known.*takes padding, share, quick, key, note"),
        ({"key": 1, "model": "x"}, r"'model' is not known"),
        ({"key": 1, "quick": "perhaps"}, r"quick='perhaps' is not known: use True, False"),
        ({}, "needs key"),
        ({"key": None}, "needs key"),
    ],
)
def test_what_cannot_be_told_is_refused(given, words):
    with pytest.raises(SettingError, match=words):
        read_parameters(ROWS, source="m").told(given, source="m")


def test_a_function_without_parameters_takes_none():
    parameters = read_parameters(None, source="m")
    assert parameters.told(None, source="m") == {}
    with pytest.raises(SettingError, match="takes none"):
        parameters.told({"padding": 3}, source="m")


def test_a_second_raster_that_is_needed_is_refused_and_one_that_is_not_is_left_out():
    more = {"name": "older", "dataType": "raster", "required": True}
    with pytest.raises(PackageError, match=r"needs 2 rasters \(photo, older\)"):
        read_parameters([*ROWS, more], source="m")
    assert read_parameters([*ROWS, {**more, "required": False}], source="m").raster == "photo"


@pytest.mark.parametrize("rows", [3, [{"dataType": "raster"}], ["raster"]])
def test_what_is_no_list_of_parameters_is_refused(rows):
    with pytest.raises(PackageError, match="no list of parameters"):
        read_parameters(rows, source="m")
