import io
import zlib

import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.inference.video.movie import Samples
from rasterloom.pipeline.inference.video.transport import _crc, with_packets
from tests.support.videos import read_video, scene, write_video


def some(packets):
    samples = Samples(io.BytesIO())
    for number, packet in enumerate(packets):
        samples.append(packet, number * 100_000)
    return samples


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    frames = [scene((64, 48), [(5 * k, 5, 5 * k + 20, 30)]) for k in range(5)]
    return write_video(tmp_path_factory.mktemp("stream") / "a.ts", frames, codec="mp4v")


def packets_of(path):
    """Number, start, turn and content of every packet, read without the code that wrote them."""
    data = path.read_bytes()
    assert len(data) % 188 == 0
    for place in range(0, len(data), 188):
        packet = data[place : place + 188]
        assert packet[0] == 0x47
        number = int.from_bytes(packet[1:3], "big") & 0x1FFF
        begin = 4 if not packet[3] & 0x20 else 5 + packet[4]
        yield number, bool(packet[1] & 0x40), packet[3] & 0x0F, packet[begin:] if packet[3] & 0x10 else b""


def contents_of(path, number):
    """The packetised contents of one stream: time in ticks, and bytes."""
    found = []
    for stream, starts, _, content in packets_of(path):
        if stream != number:
            continue
        if starts:
            found.append(bytearray())
        found[-1].extend(content)
    return [(time_of(content), bytes(content[9 + content[8] :])) for content in found]


def time_of(content):
    bits = "".join(f"{byte:08b}" for byte in content[9:14])
    assert bits[7] == bits[23] == bits[39] == "1"
    return int(bits[4:7] + bits[8:23] + bits[24:39], 2)


def table_of(path):
    """Type and description of every stream in the last table of streams."""
    table = next(content for number, starts, _, content in packets_of(path) if number == 0 and starts)
    place = int.from_bytes(table[11:13], "big") & 0x1FFF
    section = [content for number, starts, _, content in packets_of(path) if number == place and starts][-1][
        1:
    ]
    size = 3 + (int.from_bytes(section[1:3], "big") & 0x0FFF)
    section = section[:size]
    assert _crc(section) == 0  # a table and its checksum together leave nothing
    start = 12 + (int.from_bytes(section[10:12], "big") & 0x0FFF)
    streams = {}
    while start < size - 4:
        number = int.from_bytes(section[start + 1 : start + 3], "big") & 0x1FFF
        length = int.from_bytes(section[start + 3 : start + 5], "big") & 0x0FFF
        streams[number] = (section[start], section[start + 5 : start + 5 + length])
        start += 5 + length
    return streams


def metadata_of(path):
    ((number, kind),) = [
        (number, kind) for number, (kind, told) in table_of(path).items() if told == b"\x05\x04KLVA"
    ]
    assert kind == 0x06
    return number


@settings(max_examples=25, deadline=None)
@given(packets=st.lists(st.binary(min_size=1, max_size=600), min_size=1, max_size=9))
def test_packets_stand_in_a_stream_of_their_own_at_the_times_of_the_pictures(
    stream, packets, tmp_path_factory
):
    path = tmp_path_factory.mktemp("out") / "b.ts"
    with_packets(stream, some(packets), path)
    number = metadata_of(path)
    (video,) = set(table_of(path)) - {number}
    found, pictures = contents_of(path, number), contents_of(path, video)
    assert [content for _, content in found] == packets
    begun = pictures[0][0]
    assert [time - begun for time, _ in found] == [9000 * k for k in range(len(packets))]
    assert [time - begun for time, _ in pictures] == [9000 * k for k in range(5)]
    turns = [turn for stream, _, turn, _ in packets_of(path) if stream == number]
    assert turns == [k % 16 for k in range(len(turns))]


def test_metadata_comes_before_its_picture_and_the_pictures_are_as_they_were(stream, tmp_path):
    path = tmp_path / "b.ts"
    with_packets(stream, some([b"a", b"b", b"c", b"d", b"e"]), path)
    number = metadata_of(path)
    (video,) = table_of(stream)
    order = [stream for stream, starts, _, _ in packets_of(path) if starts and stream in (number, video)]
    assert order == [number, video] * 5
    kept = [packet for packet in packets_of(path) if packet[0] == video]
    assert kept == [packet for packet in packets_of(stream) if packet[0] == video]
    assert all((a == b).all() for a, b in zip(read_video(stream), read_video(path), strict=True))


def test_a_stream_that_has_metadata_gains_another_one(stream, tmp_path):
    with_packets(stream, some([b"old"]), tmp_path / "b.ts")
    with_packets(tmp_path / "b.ts", some([b"new"]), tmp_path / "c.ts")
    carried = [number for number, (_, told) in table_of(tmp_path / "c.ts").items() if told.endswith(b"KLVA")]
    assert len(carried) == 2
    contents = {content for number in carried for _, content in contents_of(tmp_path / "c.ts", number)}
    assert contents == {b"old", b"new"}


@given(st.binary(max_size=60))
def test_the_checksum_is_that_of_the_standard(data):
    # the same polynomial as zlib's, whose bits run the other way
    def turned(number, bits):
        return int(f"{number:0{bits}b}"[::-1], 2)

    mirrored = bytes(turned(byte, 8) for byte in data)
    assert _crc(data) == turned(zlib.crc32(mirrored) ^ 0xFFFFFFFF, 32)


def test_what_is_no_transport_stream_is_refused(stream, tmp_path):
    strange = tmp_path / "a.ts"
    for data, told in [(b"x" * 376, "no transport stream"), (b"", "no video with times")]:
        strange.write_bytes(data)
        with pytest.raises(ReadError, match=told):
            with_packets(strange, some([b"a"]), tmp_path / "b.ts")
    with pytest.raises(ReadError, match="70000 bytes"):
        with_packets(stream, some([bytes(70_000)]), tmp_path / "b.ts")
