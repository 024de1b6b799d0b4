"""Put a track of timed metadata into a movie file, beside the video that is in it.

Movies (QuickTime, MP4) are boxes in boxes, ISO/IEC 14496-12. The pictures are copied as they are: the table
of contents, ``moov``, is blanked where it stood and written again at the end with one track more, behind the
metadata itself. The track's samples are KLV packets; its format, ``urim``, names them by the SMPTE label of
MISB ST 0601.
"""

import os
import shutil
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from rasterloom.models.errors import ReadError

MOVIES = (".mp4", ".m4v", ".mp4v", ".mov")
"""Names of movie files end in one of these."""
KLV_URI = "urn:smpte:ul:060E2B34.020B0101.0E010301.01000000"
"""What the samples are: UAS Datalink local sets."""
_CLOCK = 90_000
"""Ticks of the new track in a second."""
_MOST_CONTENTS = 256 << 20
"""Bytes of a table of contents that are taken into memory."""


@dataclass
class Samples:
    """What the new track holds: lengths and times; the bytes themselves wait in a file."""

    file: BinaryIO
    """The samples, one behind the other."""
    sizes: array = field(default_factory=lambda: array("I"))
    """Bytes of each."""
    times: array = field(default_factory=lambda: array("Q"))
    """Microseconds since the first frame."""

    def append(self, data: bytes, time: int) -> None:
        """Add a sample that is shown from a time on."""
        self.file.write(data)
        self.sizes.append(len(data))
        self.times.append(time)


@dataclass(frozen=True)
class Box:
    """One box of a movie."""

    kind: bytes
    """Four letters."""
    start: int
    """Where it begins in the file."""
    head: int
    """Bytes of its head."""
    size: int
    """Bytes of all of it; as far as the file goes where it says so by 0."""
    open: bool = False
    """Whether it goes as far as the file does."""


def with_track(video: Path, samples: Samples, path: Path, *, end: int) -> None:
    """Write a movie with the pictures of another and a track of samples.

    Parameters
    ----------
    video
        A movie file.
    end
        Microseconds at which the last sample ends.

    Raises
    ------
    ReadError
        If the movie is in fragments, or has no table of contents.
    """
    with video.open("rb") as source, path.open("wb") as target:
        boxes = list(top_boxes(source))
        contents = _contents(source, boxes)
        source.seek(0)
        shutil.copyfileobj(source, target, 1 << 20)
        for box in boxes:
            if box.kind == b"moov":
                target.seek(box.start + 4)
                target.write(b"free")
            elif box.open:
                _close(target, box)
        target.seek(0, os.SEEK_END)
        samples.file.seek(0)
        target.write(struct.pack(">I4sQ", 1, b"mdat", 16 + sum(samples.sizes)))
        offset = target.tell()
        shutil.copyfileobj(samples.file, target, 1 << 20)
        target.write(_with_trak(contents, samples, offset, end))
        target.flush()
        os.fsync(target.fileno())


def top_boxes(file: BinaryIO) -> Iterator[Box]:
    """The boxes of a file, not those inside them.

    Raises
    ------
    ReadError
        If the file is cut off, or is no movie.
    """
    total = file.seek(0, os.SEEK_END)
    start = 0
    while start + 8 <= total:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", file.read(8))[0], 16
        box = Box(kind, start, head, total - start if size == 0 else size, size == 0)
        if box.size < head or start + box.size > total:
            raise ReadError("the movie is cut off, or it is none.")
        yield box
        start += box.size


def inner_boxes(data: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the boxes inside a box.

    Raises
    ------
    ReadError
        If it is cut off.
    """
    while start + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= len(data):
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        if size < head or start + size > len(data):
            raise ReadError("the table of contents of the movie is damaged.")
        yield kind, data[start + head : start + size]
        start += size


def _contents(file: BinaryIO, boxes: list[Box]) -> bytes:
    found = [box for box in boxes if box.kind == b"moov"]
    if len(found) != 1 or any(box.kind == b"moof" for box in boxes):
        raise ReadError("the movie is in fragments, or has no table of contents.")
    if found[0].size > _MOST_CONTENTS:
        raise ReadError(f"the table of contents of the movie has {found[0].size >> 20} MB.")
    file.seek(found[0].start + found[0].head)
    return file.read(found[0].size - found[0].head)


def _close(file: BinaryIO, box: Box) -> None:
    """Say how long a box is that went as far as the file."""
    if box.size >= 1 << 32:
        raise ReadError("the last part of the movie does not say how long it is.")
    file.seek(box.start)
    file.write(struct.pack(">I", box.size))


def _with_trak(contents: bytes, samples: Samples, offset: int, end: int) -> bytes:
    """The table of contents with one track more."""
    inside = list(inner_boxes(contents))
    kinds = [kind for kind, _ in inside]
    if b"mvhd" not in kinds or b"mvex" in kinds or b"cmov" in kinds:
        raise ReadError("the movie is in fragments, or its table of contents is compressed.")
    head = dict(inside)[b"mvhd"]
    clock = struct.unpack_from(">I", head, 20 if head[0] else 12)[0]
    number = struct.unpack(">I", head[-4:])[0]
    tracks = [data for kind, data in inside if kind == b"trak"]
    if number == 0xFFFFFFFF or not tracks:
        raise ReadError("the movie has no track, or no number for another one.")
    video = next((track for track in tracks if _handler(track) == b"vide"), tracks[0])
    rest = [
        _box(kind, head[:-4] + struct.pack(">I", number + 1) if kind == b"mvhd" else data)
        for kind, data in inside
    ]
    # tracks stand together: the new one follows the last
    place = max(k for k, kind in enumerate(kinds) if kind == b"trak") + 1
    new = _trak(number, _number(video), samples, offset, end, clock)
    return _box(b"moov", *rest[:place], new, *rest[place:])


def _handler(track: bytes) -> bytes:
    media = dict(inner_boxes(dict(inner_boxes(track)).get(b"mdia", b"")))
    return media.get(b"hdlr", bytes(12))[8:12]


def _number(track: bytes) -> int:
    head = dict(inner_boxes(track))[b"tkhd"]
    return int(struct.unpack_from(">I", head, 20 if head[0] else 12)[0])


def _trak(number: int, described: int, samples: Samples, offset: int, end: int, clock: int) -> bytes:
    ticks = [round(time * _CLOCK / 1e6) for time in (*samples.times, end)]
    begun = ticks[0] if ticks else 0
    duration = ticks[-1] - begun
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    head = (
        struct.pack(">QQIIQ", 0, 0, number, 0, round(duration / _CLOCK * clock))
        + bytes(16)
        + matrix
        + bytes(8)
    )
    media = struct.pack(">QQIQHH", 0, 0, _CLOCK, duration, 0x55C4, 0)  # of no language
    handler = bytes(4) + b"meta" + bytes(12) + b"KLV metadata\0"
    information = _box(
        b"minf",
        _full(b"nmhd"),
        _box(b"dinf", _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1))),
        _table(samples, [later - earlier for earlier, later in pairwise(ticks)], offset),
    )
    return _box(
        b"trak",
        _full(b"tkhd", head, version=1, flags=1),
        _box(b"tref", _box(b"cdsc", struct.pack(">I", described))),
        _box(b"mdia", _full(b"mdhd", media, version=1), _full(b"hdlr", handler), information),
    )


def _table(samples: Samples, lasting: list[int], offset: int) -> bytes:
    """Where each sample is and how long it is shown: all of them are one chunk."""
    runs: list[list[int]] = []
    for ticks in lasting:
        if runs and runs[-1][1] == ticks:
            runs[-1][0] += 1
        else:
            runs.append([1, ticks])
    times = b"".join(struct.pack(">II", *run) for run in runs)
    sizes = array("I", samples.sizes)
    if struct.pack("=I", 1) != struct.pack(">I", 1):
        sizes.byteswap()
    entry = _box(b"urim", bytes(6) + struct.pack(">H", 1), _full(b"uri ", KLV_URI.encode() + b"\0"))
    count = len(sizes)
    return _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), entry),
        _full(b"stts", struct.pack(">I", len(runs)), times),
        _full(b"stsc", struct.pack(">IIII", 1, 1, max(count, 1), 1)),
        _full(b"stsz", struct.pack(">II", 0, count), sizes.tobytes()),
        _full(b"co64", struct.pack(">IQ", 1, offset)),
    )


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def _full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
