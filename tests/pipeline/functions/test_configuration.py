"""Which tiles a function asks for, and what it says that it makes of them."""

import json

import pytest

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.configuration import OutputInfo, read_configuration, read_output


def _table(*values: int) -> str:
    rows = [{"attributes": {"Value": value, "Class": f"c{value}"}} for value in values]
    return json.dumps({"features": rows})


def _output(emd=None, untouched=None, **info) -> OutputInfo:
    return read_output({"bandCount": 1, **info}, emd or {}, untouched=untouched, source="m")


def test_tiles_are_kept_pixels_and_are_seen_with_their_padding():
    asked = read_configuration(
        {"tx": 448.0, "ty": 224, "padding": 32, "extractBands": (3, 0)}, {}, source="m"
    )
    assert (asked.tile, asked.seen, asked.bands) == ((224, 448), (288, 512), (3, 0))


def test_where_the_function_is_silent_the_description_speaks():
    emd = {"ImageHeight": 400, "ImageWidth": 300, "ExtractBands": [2, 1]}
    asked = read_configuration({"padding": 20}, emd, source="m")
    assert (asked.tile, asked.bands) == ((360, 260), (2, 1))
    hints = {"ImageHeight": "e.g. 256", "ExtractBands": "e.g. [0, 1, 2]"}
    assert read_configuration(None, hints, source="m").tile == (256, 256)
    assert read_configuration(None, hints, source="m").bands is None


@pytest.mark.parametrize(
    "plain", [{"tx": 0}, {"ty": -3}, {"padding": -1}, {"tx": 2.5}, {"tx": "wide"}, {"extractBands": (-1,)}, 7]
)
def test_numbers_that_cannot_work_are_refused(plain):
    with pytest.raises(PackageError, match=r"must be a whole number|is no number|no dictionary"):
        read_configuration(plain, {}, source="m")


@pytest.mark.parametrize(
    ("info", "dtype", "nodata"),
    [
        ({"pixelType": "u1", "rasterAttributeTable": _table(1, 2)}, "uint8", 255),
        ({"pixelType": "u1", "rasterAttributeTable": _table(1, 255)}, "uint16", 65535),
        ({"pixelType": "U2", "rasterAttributeTable": _table(300)}, "uint16", 65535),
        ({"pixelType": "u1"}, "uint16", 65535),
        ({"pixelType": "i1"}, "int32", -(2**31)),
        ({"pixelType": "i2"}, "int32", -(2**31)),
        ({"pixelType": "i4"}, "int32", -(2**31)),
        ({"pixelType": "u1", "noData": (7,)}, "uint8", 7),
        ({"pixelType": "u1", "noData": [300]}, "uint16", 65535),
        ({"pixelType": "f4", "noData": -1}, "float32", -1),
    ],
)
def test_what_stands_for_nothing_is_no_value_of_the_function(info, dtype, nodata):
    output = _output(**info)
    assert (output.dtype, output.nodata) == (dtype, nodata)


def test_floating_point_has_a_value_for_nothing():
    output = _output(pixelType="f8")
    assert output.dtype == "float64"
    assert output.nodata != output.nodata


def test_nodata_of_the_raster_is_not_taken_for_the_functions_word():
    assert _output(pixelType="u1", noData=(0, 0, 0), untouched=0).nodata == 65535


def test_classes_come_from_the_table_or_from_the_description():
    emd = {
        "Classes": [
            {"Value": 2, "Name": "b", "Color": [1, 2, 3]},
            {"Value": 1, "Name": "a", "Color": [-1] * 3},
        ]
    }
    named = _output(emd, pixelType="u1").classes
    assert [(info.value, info.name) for info in named] == [(1, "a"), (2, "b")]
    assert named[1].color == (1, 2, 3)
    assert min(named[0].color) >= 0
    assert [info.name for info in _output(emd, pixelType="u1", rasterAttributeTable=_table(9)).classes] == [
        "c9"
    ]
    assert _output(emd, pixelType="f4").classes == ()
    assert _output(emd, pixelType="u1", bandCount=3).classes == ()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"pixelType": "c8"}, "'c8', and known are u1"),
        ({}, "pixelType None"),
        ({"pixelType": "u1", "bandCount": 0}, "bandCount=0"),
        ({"pixelType": "u1", "rasterAttributeTable": "{"}, "cannot be read"),
        ({"pixelType": "u1", "rasterAttributeTable": '{"features": [{}]}'}, "cannot be read"),
    ],
)
def test_an_output_that_cannot_be_understood_is_refused(info, words):
    with pytest.raises(PackageError, match=words):
        _output(**info)
