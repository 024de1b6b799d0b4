import math

import pytest
from hypothesis import given, strategies as st

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.inference.video.packing import items, packed
from rasterloom.pipeline.inference.video.vmti import (
    FrameTargets,
    Target,
    checksum,
    read_vmti,
    uas_packet,
    vmti_set,
)

KNOWN = FrameTargets(
    3,
    1_700_000_000_000_000,
    (768, 432),
    (
        Target((10.2, 20.7, 100, 200.5), "car", 0.87, 5, (255, 0, 3)),
        Target((0, 0, 768, 432), "lorry", 0.5),
    ),
)
KNOWN_BYTES = (
    "020800060a24181e4000030a7261737465726c6f6f6d040104050102060102070103080203000902"
    "01b0655135050103014a3702023c0b03030258640501570803ff00036605020363617268150110842e"
    "2e746aee5c198bac607a9efce38a0201011a0101030286800201010303051000050132660702056c6f"
    "727279"
)
"""What another implementation of ST 0903 (tstrans 0.8) reads as targets 5 and 1 with these very pixels,
percents and colour."""

sizes = st.tuples(st.integers(1, 5000), st.integers(1, 4000))


@st.composite
def frames(draw):
    width, height = draw(sizes)
    targets = []
    for _ in range(draw(st.integers(0, 4))):
        x1, x2 = sorted(draw(st.lists(st.floats(0, width), min_size=2, max_size=2)))
        y1, y2 = sorted(draw(st.lists(st.floats(0, height), min_size=2, max_size=2)))
        label = draw(st.text(max_size=90))
        color = draw(st.none() | st.tuples(*[st.integers(0, 255)] * 3))
        score, track = draw(st.floats(0, 1)), draw(st.integers(0, 300))
        targets.append(Target((x1, y1, x2, y2), label, score, track, color))
    number, time = draw(st.integers(0, 1 << 23)), draw(st.integers(0, 1 << 60))
    return FrameTargets(number, time, (width, height), tuple(targets))


@given(frames())
def test_what_is_written_is_read_back_in_whole_pixels_and_percents(frame):
    read = read_vmti(vmti_set(frame, video="a"))
    assert (read.frame, read.time, read.size) == (frame.frame, frame.time, frame.size)
    assert len(read.targets) == len(frame.targets)
    for found, given_target in zip(read.targets, frame.targets, strict=True):
        assert (found.label, found.track, found.color) == (
            given_target.label,
            given_target.track,
            given_target.color,
        )
        assert abs(found.score - given_target.score) <= 0.005 + 1e-9
        for side, (got, wanted) in enumerate(zip(found.box, given_target.box, strict=True)):
            rounded = math.floor(wanted) if side < 2 else math.ceil(wanted)
            assert abs(got - rounded) <= 1  # boxes without an area, or on the far edge, take a pixel
        assert found.box[0] < found.box[2] <= frame.size[0]
        assert found.box[1] < found.box[3] <= frame.size[1]


def test_boxes_on_whole_pixels_come_back_exactly():
    box = (3.0, 4.0, 11.0, 9.0)
    frame = FrameTargets(0, 0, (20, 10), (Target(box, "a", 1.0),))
    assert read_vmti(vmti_set(frame)).targets[0].box == box


def test_the_bytes_are_those_that_another_reader_understood():
    assert vmti_set(KNOWN, video="x").hex() == KNOWN_BYTES


def test_pixels_are_numbered_row_by_row_from_one():
    frame = FrameTargets(0, 0, (10, 5), (Target((2, 1, 4, 3), "a", 1.0),))
    series = dict(items(vmti_set(frame)))[101]
    target = dict(items(series[2:]))  # after the length and the number of the target
    assert int.from_bytes(target[2], "big") == 1 * 10 + 2 + 1
    assert int.from_bytes(target[3], "big") == 2 * 10 + 3 + 1


def test_objects_without_a_track_get_numbers_that_no_track_has():
    boxes = [Target((0, 0, 1, 1), "a", 1.0, track) for track in (2, 0, 1, 0)]
    series = dict(items(vmti_set(FrameTargets(0, 0, (9, 9), tuple(boxes)))))[101]
    numbers = []
    while series:
        numbers.append(series[1])
        series = series[1 + series[0] :]
    assert numbers == [2, 3, 1, 4]


def test_a_track_has_one_identifier_in_all_frames_and_another_in_other_videos():
    def identifier(frame, video):
        targets = FrameTargets(frame, 0, (9, 9), (Target((0, 0, 1, 1), "a", 1.0, 4),))
        return read_vmti(vmti_set(targets, video=video)).tracks[4]

    assert identifier(0, "a") == identifier(7, "a") != identifier(0, "b")


def test_a_packet_has_its_time_first_and_a_checksum_that_holds():
    vmti = vmti_set(KNOWN, video="x")
    packet = uas_packet(vmti, KNOWN.time, packed(5, b"\x12\x34"))
    assert packet[:16].hex() == "060e2b34020b01010e01030101000000"
    assert packet[16] == 0x81  # a length of one byte, 128 or more
    inside = list(items(packet[18:]))
    assert [tag for tag, _ in inside] == [2, 5, 65, 74, 1]
    assert inside[0][1] == KNOWN.time.to_bytes(8, "big")
    assert inside[3][1] == vmti
    naive = sum(byte << (8 * ((place + 1) % 2)) for place, byte in enumerate(packet[:-2])) % 65536
    assert int.from_bytes(inside[-1][1], "big") == naive == checksum(packet[:-2])


def test_metadata_without_a_width_or_a_box_is_refused():
    with pytest.raises(ReadError, match="how wide"):
        read_vmti(packed(7, b"\x01"))
    with pytest.raises(ReadError, match="target 1 of the metadata has no box"):
        read_vmti(packed(8, b"\x09") + packed(101, b"\x04\x01\x05\x01\x32"))
