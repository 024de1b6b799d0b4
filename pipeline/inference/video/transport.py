"""Put packets of metadata into a transport stream, beside the video that is in it.

A transport stream (ISO/IEC 13818-1) is a row of packets of 188 bytes, each of one elementary stream. The
pictures stay as they are: the table of streams gains a private one, registered as ``KLVA``, and its packets
stand before the pictures that they belong to, as MISB ST 1402 has it for metadata with times of its own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.inference.video.movie import Samples

STREAMS = (".ts", ".m2t", ".mts")
"""Names of transport streams end in one of these."""
_SIZE, _SYNC = 188, 0x47
_CLOCK = 90_000
"""Ticks in a second."""
_TURN = 1 << 33
"""Ticks after which the clock begins anew."""
_VIDEO = {0x01, 0x02, 0x10, 0x1B, 0x24, 0x33}
"""Types of video streams: MPEG-1, -2 and -4, H.264, H.265, H.266."""
_PRIVATE, _REGISTERED = 0x06, bytes([0x05, 4]) + b"KLVA"
_LAST_PROGRAM = 0x1FFE


@dataclass
class _Program:
    """What is known of the streams while the packets go by."""

    table: int = -1
    """Packets of this number hold the table of streams."""
    video: int = -1
    """Packets of this number hold the video."""
    metadata: int = -1
    """Packets of this number will hold the metadata."""
    written: int = 0
    """Packets of metadata so far."""


def with_packets(video: Path, samples: Samples, path: Path) -> None:
    """Write a transport stream with the pictures of another and packets of metadata.

    Parameters
    ----------
    video
        A transport stream of one program.
    samples
        The metadata; its times count from the first picture.

    Raises
    ------
    ReadError
        If it is no transport stream, or has no video, or its table of streams does not fit into a packet.
    """
    program, begun = _Program(), -1
    samples.file.seek(0)
    done, total = 0, len(samples.sizes)
    with video.open("rb") as source, path.open("wb") as target:
        for packet in _packets(source):
            stream, starts = _stream(packet), bool(packet[1] & 0x40)
            if stream == 0 and starts:
                program.table = _table_of(packet)
            elif stream == program.table and starts:
                packet = _with_stream(packet, program)
            elif stream == program.video and starts:
                shown = _shown_at(packet)
                begun = shown if begun < 0 else begun
                since = (shown - begun + _TURN // 2) % _TURN - _TURN // 2
                while done < total and _ticks(samples.times[done]) <= since:
                    _write(target, samples, done, begun, program)
                    done += 1
            target.write(packet)
        if begun < 0:
            raise ReadError(f"{video} holds no video with times: no metadata can be put beside it.")
        for number in range(done, total):
            _write(target, samples, number, begun, program)
        target.flush()
        os.fsync(target.fileno())


def _packets(file: BinaryIO) -> Iterator[bytes]:
    while packet := file.read(_SIZE):
        if len(packet) < _SIZE:
            return  # a last packet that was cut off
        if packet[0] != _SYNC:
            raise ReadError("this is no transport stream of packets of 188 bytes.")
        yield packet


def _stream(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def _payload(packet: bytes) -> int:
    """Where the content of a packet begins."""
    return 5 + packet[4] if packet[3] & 0x20 else 4


def _section(packet: bytes) -> tuple[int, bytes]:
    """Where a table begins in a packet, and the table with its checksum."""
    start = _payload(packet)
    start += 1 + packet[start]
    size = 3 + ((packet[start + 1] & 0x0F) << 8 | packet[start + 2])
    if start + size > _SIZE:
        raise ReadError("the table of streams is longer than a packet: no stream can be put into it.")
    return start, packet[start : start + size]


def _table_of(packet: bytes) -> int:
    """Which packets hold the table of streams of the first program."""
    _, section = _section(packet)
    for place in range(8, len(section) - 4, 4):
        if section[place : place + 2] != bytes(2):  # program 0 is the network
            return (section[place + 2] & 0x1F) << 8 | section[place + 3]
    raise ReadError("the transport stream has no program.")


def _with_stream(packet: bytes, program: _Program) -> bytes:
    """The table of streams with the metadata in it."""
    start, section = _section(packet)
    body = section[:-4]
    place = 12 + ((body[10] & 0x0F) << 8 | body[11])
    used = {0, program.table}
    while place < len(body):
        number = (body[place + 1] & 0x1F) << 8 | body[place + 2]
        used.add(number)
        if program.video < 0 and body[place] in _VIDEO:
            program.video = number
        place += 5 + ((body[place + 3] & 0x0F) << 8 | body[place + 4])
    if program.metadata < 0:
        program.metadata = next(number for number in range(_LAST_PROGRAM, 31, -1) if number not in used)
    head = bytes([_PRIVATE, 0xE0 | program.metadata >> 8, program.metadata & 0xFF, 0xF0, len(_REGISTERED)])
    body += head + _REGISTERED
    size = len(body) - 3 + 4
    body = body[:1] + bytes([body[1] & 0xF0 | size >> 8, size & 0xFF]) + body[3:]
    whole = packet[:start] + body + _crc(body).to_bytes(4, "big")
    if len(whole) > _SIZE:
        raise ReadError("the table of streams has no room for another one in its packet.")
    return whole.ljust(_SIZE, b"\xff")


def _shown_at(packet: bytes) -> int:
    """When a picture is shown, in ticks; 0 where it does not say."""
    start = _payload(packet)
    if not packet[start + 7] & 0x80:
        return 0
    time = packet[start + 9 : start + 14]
    return (time[0] >> 1 & 7) << 30 | time[1] << 22 | time[2] >> 1 << 15 | time[3] << 7 | time[4] >> 1


def _ticks(time: int) -> int:
    return round(time * _CLOCK / 1e6)


def _write(target: BinaryIO, samples: Samples, number: int, begun: int, program: _Program) -> None:
    """Write the next sample as packets of its stream."""
    time, size = samples.times[number], samples.sizes[number]
    shown = (begun + _ticks(time)) % _TURN
    stamp = [0x21 | shown >> 29 & 0x0E, shown >> 22 & 0xFF, 1 | shown >> 14 & 0xFE, shown >> 7 & 0xFF]
    stamp.append(1 | shown << 1 & 0xFE)
    # aligned: the packet begins where its content does
    content = bytes([0x84, 0x80, 5, *stamp]) + samples.file.read(size)
    if len(content) > 0xFFFF:
        raise ReadError(f"the metadata of a frame has {size} bytes: a packet holds 65,527.")
    content = b"\0\0\x01\xbd" + len(content).to_bytes(2, "big") + content
    first = 0x40
    while content:
        part, content = content[: _SIZE - 4], content[_SIZE - 4 :]
        spare = _SIZE - 4 - len(part)
        filled = (
            b"" if not spare else bytes([spare - 1]) + (b"\0" + b"\xff" * (spare - 2) if spare > 1 else b"")
        )
        control = (0x30 if spare else 0x10) | program.written % 16
        head = bytes([_SYNC, first | program.metadata >> 8, program.metadata & 0xFF, control])
        target.write(head + filled + part)
        program.written += 1
        first = 0


def _crc(data: bytes) -> int:
    """The checksum of tables: CRC-32 with polynomial 0x04C11DB7, nothing reflected."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value
