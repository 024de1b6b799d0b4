"""The objects of a video frame as a VMTI local set of MISB ST 0903, and back.

Pixels of a frame are numbered row by row from 1 at the upper left, as in the standard. A box goes from the
pixel that holds its upper-left corner to the one that holds its lower-right corner.
"""

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.inference.video.packing import (
    items,
    length,
    measured,
    oid,
    packed,
    read_oid,
    series,
    whole,
)

VMTI_VERSION = 4
"""Of the standard that is written."""
SYSTEM = "rasterloom"
"""What the metadata calls its author."""
NAMESPACE = uuid.UUID("5b0a1c5e-6d3f-5a52-8a2c-9d1f1c7b8e42")
"""Where the identifiers of tracks come from, with the name of the video."""

_UAS_KEY = bytes.fromhex("060e2b34020b01010e01030101000000")
"""Key of a UAS Datalink local set, MISB ST 0601."""
_UAS_VERSION = 17
_TIME, _SYSTEM, _VERSION, _TOTAL, _REPORTED, _FRAME, _WIDTH, _HEIGHT, _TARGETS = 2, 3, 4, 5, 6, 7, 8, 9, 101
_CENTRE, _FIRST, _LAST, _CONFIDENCE, _COLOR, _OBJECT, _TRACKER = 1, 2, 3, 5, 8, 102, 104
_OBJECT_CLASS = 2
_TRACK_ID, _STATUS = 1, 2
_MOVING = 1


@dataclass(frozen=True)
class Target:
    """One object of a frame."""

    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels of the frame, the upper-left corner of the frame at (0, 0)."""
    label: str
    """Name of its class."""
    score: float
    """0..1; written in whole percents."""
    track: int = 0
    """Which track it belongs to, from 1; 0 for none."""
    color: tuple[int, int, int] | None = None
    """Red, green, blue of its class."""


@dataclass(frozen=True)
class FrameTargets:
    """The objects of one frame."""

    frame: int
    """Number of the frame, from 0."""
    time: int
    """Microseconds: since 1970 where the metadata tells so, else since the video began."""
    size: tuple[int, int]
    """Width and height of the frame, in pixels."""
    targets: tuple[Target, ...] = ()
    tracks: Mapping[int, str] = field(default_factory=dict)
    """Identifier of each track in the metadata, where it was read from there."""


def vmti_set(frame: FrameTargets, *, video: str = "") -> bytes:
    """The local set of a frame, without key and length: the value of item 74 of ST 0601.

    Parameters
    ----------
    video
        Name of the video, which makes the identifiers of its tracks its own.
    """
    width, height = frame.size
    count = whole(len(frame.targets))
    parts = [
        packed(_TIME, frame.time.to_bytes(8, "big")),
        packed(_SYSTEM, SYSTEM.encode()),
        packed(_VERSION, whole(VMTI_VERSION)),
        packed(_TOTAL, count),
        packed(_REPORTED, count),
        packed(_FRAME, whole(frame.frame)),
        packed(_WIDTH, whole(width)),
        packed(_HEIGHT, whole(height)),
    ]
    if frame.targets:
        used = {target.track for target in frame.targets}
        free = (number for number in range(1, 2 * len(frame.targets) + 1) if number not in used)
        packs = [
            measured(oid(target.track or next(free)) + _target(target, frame.size, video))
            for target in frame.targets
        ]
        parts.append(packed(_TARGETS, b"".join(packs)))
    return b"".join(parts)


def uas_packet(vmti: bytes, time: int, others: bytes = b"") -> bytes:
    """A whole UAS Datalink packet of ST 0601 around a VMTI local set, as videos carry it.

    Parameters
    ----------
    others
        Further items, packed.
    """
    parts = [packed(2, time.to_bytes(8, "big")), others, packed(65, bytes([_UAS_VERSION])), packed(74, vmti)]
    body = b"".join(parts)
    # the checksum, of two bytes, comes last and covers its own tag and length
    unsigned = _UAS_KEY + length(len(body) + 4) + body + bytes([1, 2])
    return unsigned + checksum(unsigned).to_bytes(2, "big")


def checksum(data: bytes) -> int:
    """The 16-bit running sum of ST 0601 over everything before it."""
    return (sum(data[0::2]) * 256 + sum(data[1::2])) % 65536


def read_vmti(data: bytes) -> FrameTargets:
    """What :func:`vmti_set` wrote; boxes in whole pixels.

    Raises
    ------
    ReadError
        If it is cut off, or says of its boxes nothing.
    """
    found = dict(items(data))
    numbers = {tag: int.from_bytes(value, "big") for tag, value in found.items()}
    if _WIDTH not in numbers:
        raise ReadError("the metadata does not say how wide its frames are: boxes cannot be told.")
    width, targets, tracks = numbers[_WIDTH], [], {}
    for pack in series(found.get(_TARGETS, b"")):
        target, identifier = _read_target(pack, width)
        targets.append(target)
        if target.track:
            tracks[target.track] = identifier
    return FrameTargets(
        numbers.get(_FRAME, 0),
        numbers.get(_TIME, 0),
        (width, numbers.get(_HEIGHT, 0)),
        tuple(targets),
        tracks,
    )


def _target(target: Target, size: tuple[int, int], video: str) -> bytes:
    left, top, right, bottom = _pixels(target.box, size)
    first, last = _number(left, top, size[0]), _number(right, bottom, size[0])
    centre = _number((left + right) // 2, (top + bottom) // 2, size[0])
    parts = [
        packed(_CENTRE, whole(centre)),
        packed(_FIRST, whole(first)),
        packed(_LAST, whole(last)),
        packed(_CONFIDENCE, whole(round(100 * min(max(target.score, 0.0), 1.0)))),
    ]
    if target.color is not None:
        parts.append(packed(_COLOR, bytes(target.color)))
    parts.append(packed(_OBJECT, packed(_OBJECT_CLASS, target.label.encode())))
    if target.track:
        identifier = uuid.uuid5(NAMESPACE, f"{video}#{target.track}").bytes
        tracker = packed(_TRACK_ID, identifier) + packed(_STATUS, bytes([_MOVING]))
        parts.append(packed(_TRACKER, tracker))
    return b"".join(parts)


def _pixels(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """First and last column and row that a box touches, inside the frame."""
    width, height = size
    left, top = (min(max(math.floor(value), 0), most - 1) for value, most in zip(box[:2], size, strict=True))
    right = min(max(math.ceil(box[2]) - 1, left), width - 1)
    bottom = min(max(math.ceil(box[3]) - 1, top), height - 1)
    return left, top, right, bottom


def _number(col: int, row: int, width: int) -> int:
    return row * width + col + 1


def _read_target(pack: bytes, width: int) -> tuple[Target, str]:
    number, start = read_oid(pack, 0)
    found = dict(items(pack[start:]))
    if _FIRST not in found or _LAST not in found:
        raise ReadError(f"target {number} of the metadata has no box: both of its corners are needed.")
    first, last = (int.from_bytes(found[tag], "big") - 1 for tag in (_FIRST, _LAST))
    left, top, right, bottom = first % width, first // width, last % width + 1, last // width + 1
    kind = dict(items(found.get(_OBJECT, b""))).get(_OBJECT_CLASS, b"").decode()
    tracker = dict(items(found.get(_TRACKER, b"")))
    red_green_blue = found.get(_COLOR)
    color = (red_green_blue[0], red_green_blue[1], red_green_blue[2]) if red_green_blue else None
    score = int.from_bytes(found.get(_CONFIDENCE, b""), "big") / 100
    box = (float(left), float(top), float(right), float(bottom))
    target = Target(box, kind, score, number if tracker else 0, color)
    return target, tracker.get(_TRACK_ID, b"").hex()
