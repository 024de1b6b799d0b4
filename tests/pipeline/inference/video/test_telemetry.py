import pytest
from hypothesis import given, strategies as st

from rasterloom.pipeline.inference.video.packing import items
from rasterloom.pipeline.inference.video.telemetry import QUANTITIES, plain, telemetry


@given(st.sampled_from(sorted(QUANTITIES)), st.floats(0, 1))
def test_a_number_comes_back_to_within_half_a_step(name, share):
    quantity = QUANTITIES[name]
    value = quantity.low + share * (quantity.high - quantity.low)
    ((tag, coded),) = items(telemetry({name: repr(value)}))
    assert (tag, len(coded)) == (quantity.tag, quantity.size)
    number = int.from_bytes(coded, "big", signed=quantity.signed)
    steps = 2 ** (8 * quantity.size) - (2 if quantity.signed else 1)
    step = (quantity.high - quantity.low) / steps
    read = number * step if quantity.signed else quantity.low + number * step
    assert abs(read - value) <= step / 2 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("name", "text", "coded"),
    [
        # the examples of ST 0601
        ("platformheadingangle", "159.97436", "71c2"),
        ("platformpitchangle", "-0.43153169", "fd3d"),
        ("platformrollangle", "3.4058656", "08b8"),
        ("sensorlatitude", "60.176822966978335", "5595b66d"),
        ("sensorlongitude", "128.42675904204452", "5b5360c4"),
        ("sensortruealtitude", "14190.7195", "c221"),
    ],
)
def test_numbers_are_kept_as_the_standard_shows(name, text, coded):
    ((_, value),) = items(telemetry({name: text}))
    assert value.hex() == coded


def test_what_is_no_number_or_out_of_range_is_left_out():
    row = {"sensorlatitude": "91", "sensorlongitude": "", "platformheading": "north", "wind": "3"}
    assert telemetry(row) == b""
    assert telemetry({"sensorlatitude": "nan", "sensorlongitude": "inf"}) == b""


def test_two_names_of_one_item_give_it_once_and_items_are_in_order():
    row = {"sensoraltitude": "100", "sensortruealtitude": "200", "platformheading": "10"}
    assert [tag for tag, _ in items(telemetry(row))] == [5, 15]


def test_names_of_columns_are_known_however_they_are_spelt():
    assert plain("Sensor Latitude") == plain("sensor_latitude") == plain("SensorLatitude") in QUANTITIES
