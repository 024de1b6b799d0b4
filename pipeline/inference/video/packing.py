"""Key, length, value: how motion imagery metadata is packed into bytes."""

from collections.abc import Iterator

from rasterloom.models.errors import ReadError


def packed(tag: int, value: bytes) -> bytes:
    """One item of a local set: tag, length, value."""
    return oid(tag) + measured(value)


def measured(value: bytes) -> bytes:
    """A value after its length: one byte below 128, else a byte that counts the bytes of the length."""
    return length(len(value)) + value


def length(size: int) -> bytes:
    """How many bytes follow."""
    if size < 128:
        return bytes([size])
    digits = whole(size)
    return bytes([0x80 | len(digits)]) + digits


def oid(number: int) -> bytes:
    """A number of any size in groups of seven bits, all but the last marked."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(0x80 | number & 0x7F)
    return bytes(reversed(groups))


def whole(number: int) -> bytes:
    """A whole number from 0 in as few bytes as it needs, the largest first."""
    return number.to_bytes(max(1, -(-number.bit_length() // 8)), "big")


def items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and values of a local set, in their order.

    Raises
    ------
    ReadError
        If it is cut off.
    """
    place = 0
    while place < len(data):
        tag, place = read_oid(data, place)
        value, place = read_measured(data, place)
        yield tag, value


def series(data: bytes) -> Iterator[bytes]:
    """The values of a series, each after its length.

    Raises
    ------
    ReadError
        If it is cut off.
    """
    place = 0
    while place < len(data):
        value, place = read_measured(data, place)
        yield value


def read_oid(data: bytes, place: int) -> tuple[int, int]:
    """The number that begins at a place, and where it ends."""
    number = 0
    while True:
        byte = _bytes(data, place, 1)[0]
        number, place = number << 7 | byte & 0x7F, place + 1
        if byte < 0x80:
            return number, place


def read_measured(data: bytes, place: int) -> tuple[bytes, int]:
    """The value whose length begins at a place, and where it ends."""
    size, place = _bytes(data, place, 1)[0], place + 1
    if size >= 0x80:
        count = size & 0x7F
        size, place = int.from_bytes(_bytes(data, place, count), "big"), place + count
    return _bytes(data, place, size), place + size


def _bytes(data: bytes, place: int, count: int) -> bytes:
    if place + count > len(data):
        raise ReadError(
            f"the metadata is cut off: {len(data)} bytes, and there should be {place + count}. "
            "Write it again, or take the whole text of the column."
        )
    return data[place : place + count]
