import pytest
from hypothesis import given, strategies as st

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.inference.video.packing import (
    items,
    length,
    measured,
    oid,
    packed,
    read_measured,
    read_oid,
    series,
    whole,
)

tags = st.integers(0, 1 << 40)
values = st.binary(max_size=400)


@given(st.lists(st.tuples(tags, values), max_size=6))
def test_items_come_back_as_they_were_packed(pairs):
    data = b"".join(packed(tag, value) for tag, value in pairs)
    assert list(items(data)) == pairs


@given(st.lists(values, max_size=6))
def test_the_values_of_a_series_come_back_in_their_order(several):
    assert list(series(b"".join(map(measured, several)))) == several


@given(st.integers(0, 1 << 60))
def test_a_number_in_groups_of_seven_bits_is_as_short_as_can_be(number):
    coded = oid(number)
    assert read_oid(coded, 0) == (number, len(coded))
    assert len(coded) == max(1, -(-number.bit_length() // 7))
    assert all(byte >= 128 for byte in coded[:-1])


@pytest.mark.parametrize(
    ("size", "coded"), [(0, "00"), (127, "7f"), (128, "8180"), (255, "81ff"), (256, "820100")]
)
def test_lengths_are_written_as_the_standard_shows(size, coded):
    assert length(size).hex() == coded
    assert read_measured(length(size) + bytes(size), 0) == (bytes(size), size + len(coded) // 2)


@pytest.mark.parametrize(("number", "coded"), [(0, "00"), (255, "ff"), (256, "0100"), (1 << 24, "01000000")])
def test_whole_numbers_take_as_few_bytes_as_they_need(number, coded):
    assert whole(number).hex() == coded


@given(st.lists(st.tuples(tags, st.binary(min_size=1, max_size=200)), min_size=1, max_size=4), st.data())
def test_metadata_that_is_cut_off_is_refused(pairs, data):
    whole_set = b"".join(packed(tag, value) for tag, value in pairs)
    ends = {0}
    for tag, value in pairs:
        ends.add(max(ends) + len(packed(tag, value)))
    cut = data.draw(st.sampled_from(sorted(set(range(len(whole_set))) - ends)))
    with pytest.raises(ReadError, match="cut off"):
        list(items(whole_set[:cut]))
