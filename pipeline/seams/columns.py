"""Tables of numbers and outlines as files."""

import io
from collections.abc import Mapping

import numpy as np

_TEXT, _LENGTHS = "outlines_text", "outlines_lengths"


def columns_to_bytes(columns: Mapping[str, np.ndarray]) -> bytes:
    """A file that :func:`columns_from_bytes` reads; the same columns give the same bytes.

    Parameters
    ----------
    columns
        Arrays of as many rows each. One may hold objects, ``outlines``, of bytes.
    """
    outlines = columns["outlines"]
    arrays = {name: column for name, column in columns.items() if name != "outlines"}
    arrays[_LENGTHS] = np.array([len(outline) for outline in outlines], np.int64)
    arrays[_TEXT] = np.frombuffer(b"".join(outlines.tolist()), np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def columns_from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """What :func:`columns_to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        columns = {name: stored[name] for name in stored.files}
    text, lengths = columns.pop(_TEXT).tobytes(), columns.pop(_LENGTHS)
    outlines = np.zeros(len(lengths), object)
    stop = np.cumsum(lengths)
    for row, (end, length) in enumerate(zip(stop.tolist(), lengths.tolist(), strict=True)):
        outlines[row] = text[end - length : end]
    return {**columns, "outlines": outlines}
