import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.inference.video.movie import (
    KLV_URI,
    Samples,
    inner_boxes,
    top_boxes,
    with_track,
)
from tests.support.videos import read_video, scene, write_video


def some(packets):
    samples = Samples(io.BytesIO())
    for number, packet in enumerate(packets):
        samples.append(packet, number * 100_000)
    return samples


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    frames = [scene((64, 48), [(5 * k, 5, 5 * k + 20, 30)]) for k in range(5)]
    return write_video(tmp_path_factory.mktemp("movie") / "a.mov", frames)


def tracks_of(path):
    """Kind, and times and bytes of the samples of every track, read without the code that wrote them."""
    data = path.read_bytes()
    moov = [content for kind, content in inner_boxes(data) if kind == b"moov"]
    assert len(moov) == 1
    found = []
    for kind, trak in inner_boxes(moov[0]):
        if kind != b"trak":
            continue
        media = dict(inner_boxes(dict(inner_boxes(trak))[b"mdia"]))
        table = dict(inner_boxes(dict(inner_boxes(media[b"minf"]))[b"stbl"]))
        found.append((media[b"hdlr"][8:12], samples_of(data, media, table), table[b"stsd"]))
    return found


def samples_of(data, media, table):
    version = media[b"mdhd"][0]
    clock = struct.unpack_from(">I", media[b"mdhd"], 20 if version else 12)[0]
    same, count = struct.unpack_from(">II", table[b"stsz"], 4)
    sizes = [same] * count if same else struct.unpack_from(f">{count}I", table[b"stsz"], 12)
    letter, name = ("Q", b"co64") if b"co64" in table else ("I", b"stco")
    chunks = struct.unpack_from(f">{struct.unpack_from('>I', table[name], 4)[0]}{letter}", table[name], 8)
    runs = list(struct.iter_unpack(">III", table[b"stsc"][8:]))
    times, time = [], 0
    for number, ticks in struct.iter_unpack(">II", table[b"stts"][8:]):
        for _ in range(number):
            times.append(time / clock)
            time += ticks
    found, sample = [], 0
    for chunk, start in enumerate(chunks, start=1):
        (per_chunk,) = [many for first, many, _ in runs if first <= chunk][-1:]
        for _ in range(per_chunk):
            if sample < count:
                found.append((times[sample], data[start : start + sizes[sample]]))
                start, sample = start + sizes[sample], sample + 1
    return found


@settings(max_examples=25, deadline=None)
@given(packets=st.lists(st.binary(max_size=300), min_size=1, max_size=6))
def test_packets_stand_in_a_track_of_their_own_at_their_times(movie, packets, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "b.mov"
    with_track(movie, some(packets), path, end=len(packets) * 100_000)
    (before,) = tracks_of(movie)
    after, added = tracks_of(path)
    assert after[:2] == before[:2]  # the pictures, byte for byte
    assert added[0] == b"meta"
    assert KLV_URI.encode() in added[2]
    assert [packet for _, packet in added[1]] == packets
    assert [time for time, _ in added[1]] == pytest.approx([0.1 * k for k in range(len(packets))])


def test_the_pictures_play_as_before(movie, tmp_path):
    with_track(movie, some([b"abc", b"d"]), tmp_path / "b.mov", end=200_000)
    for before, after in zip(read_video(movie), read_video(tmp_path / "b.mov"), strict=True):
        assert (before == after).all()


def test_contents_that_stand_first_are_moved_to_the_end(movie, tmp_path):
    # as for the web: the table of contents before the pictures, which moves all places by its size
    with movie.open("rb") as file:
        boxes = {box.kind: box for box in top_boxes(file)}
    data = movie.read_bytes()
    head, contents, rest = (
        data[: boxes[b"ftyp"].size],
        data[boxes[b"moov"].start : boxes[b"moov"].start + boxes[b"moov"].size],
        data[boxes[b"ftyp"].size : boxes[b"moov"].start],
    )
    place = contents.index(b"stco") + 4
    count = struct.unpack_from(">I", contents, place + 4)[0]
    moved = [start + len(contents) for start in struct.unpack_from(f">{count}I", contents, place + 8)]
    contents = contents[: place + 8] + struct.pack(f">{count}I", *moved) + contents[place + 8 + 4 * count :]
    first = tmp_path / "first.mov"
    first.write_bytes(head + contents + rest)
    assert [time for time, _ in tracks_of(first)[0][1]] == [time for time, _ in tracks_of(movie)[0][1]]
    with_track(first, some([b"abc"]), tmp_path / "b.mov", end=100_000)
    assert tracks_of(tmp_path / "b.mov")[0][1] == tracks_of(movie)[0][1]
    assert len(read_video(tmp_path / "b.mov")) == 5


def test_a_last_part_of_unknown_length_gets_its_length(movie, tmp_path):
    with movie.open("rb") as file:
        boxes = list(top_boxes(file))
    data = movie.read_bytes()
    pictures = next(box for box in boxes if box.kind == b"mdat")
    contents = next(box for box in boxes if box.kind == b"moov")
    assert contents.start > pictures.start
    # the contents move behind a box of the same size, so that the pictures can come last
    blank = struct.pack(">I4s", contents.size, b"free") + bytes(contents.size - 8)
    moov = data[contents.start : contents.start + contents.size]
    shift = contents.size
    place = moov.index(b"stco") + 4
    count = struct.unpack_from(">I", moov, place + 4)[0]
    moved = [start + shift for start in struct.unpack_from(f">{count}I", moov, place + 8)]
    moov = moov[: place + 8] + struct.pack(f">{count}I", *moved) + moov[place + 8 + 4 * count :]
    body = bytearray(data[: contents.start])
    body[pictures.start : pictures.start + 4] = bytes(4)
    assert len(blank) == len(moov)
    unknown = tmp_path / "open.mov"
    unknown.write_bytes(bytes(body[: pictures.start]) + moov + bytes(body[pictures.start :]))
    with_track(unknown, some([b"abc"]), tmp_path / "b.mov", end=100_000)
    assert tracks_of(tmp_path / "b.mov")[0][1] == tracks_of(movie)[0][1]
    assert tracks_of(tmp_path / "b.mov")[1][1] == [(0, b"abc")]


@pytest.mark.parametrize("kind", [b"moof", b"moov"])
def test_movies_in_fragments_have_no_room(movie, tmp_path, kind):
    strange = tmp_path / "a.mov"
    strange.write_bytes(movie.read_bytes() + struct.pack(">I4s", 8, kind))
    with pytest.raises(ReadError, match="fragments"):
        with_track(strange, some([b"a"]), tmp_path / "b.mov", end=1)


def test_what_is_no_movie_or_cut_off_has_no_room(movie, tmp_path):
    strange = tmp_path / "a.mov"
    for data in (b"", b"RIFF" * 100, movie.read_bytes()[:-40]):
        strange.write_bytes(data)
        with pytest.raises(ReadError):
            with_track(strange, some([b"a"]), tmp_path / "b.mov", end=1)


def test_a_long_track_is_one_run_of_times(movie, tmp_path):
    samples = Samples(io.BytesIO())
    for number in range(2000):
        samples.append(b"x", number * 100_000)
    with_track(movie, samples, tmp_path / "b.mov", end=2000 * 100_000)
    grown = (tmp_path / "b.mov").stat().st_size - movie.stat().st_size
    assert grown < 2000 * (1 + 4) + 2000  # a byte and its length each, and the table of contents once more
    assert np.diff([time for time, _ in tracks_of(tmp_path / "b.mov")[1][1]]) == pytest.approx(0.1)
