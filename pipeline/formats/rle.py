"""COCO's run lengths: down the columns, first those outside, as numbers or as a short text."""

from collections.abc import Sequence

import numpy as np


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask (h, w), column by column, beginning with the pixels outside."""
    flat = mask.T.reshape(-1)
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff(np.concatenate([[0], turns, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def to_mask(lengths: Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    """The mask (h, w) bool of run lengths.

    Raises
    ------
    ValueError
        If they do not make up the shape.
    """
    height, width = shape
    given = np.asarray(lengths, np.int64).reshape(-1)
    if (given < 0).any() or given.sum() != height * width:
        raise ValueError(f"run lengths make up {given.sum()} pixels instead of {height} x {width}")
    flat = np.repeat(np.arange(len(given)) % 2 == 1, given)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def to_text(lengths: Sequence[int]) -> str:
    """Run lengths as COCO's text: differences to the last but one in groups of five bits, low ones first.

    References
    ----------
    COCO API, ``maskApi.c``: rleToString.
    """
    signs = []
    for position, length in enumerate(lengths):
        rest = length - lengths[position - 2] if position > 2 else length
        more = True
        while more:
            five = rest & 31
            rest >>= 5
            more = rest != (-1 if five & 16 else 0)
            signs.append(chr((five | 32 if more else five) + 48))
    return "".join(signs)


def from_text(text: str) -> list[int]:
    """The run lengths of a text that :func:`to_text` or the COCO API wrote.

    Raises
    ------
    ValueError
        If the text ends within a number, or has other signs.
    """
    lengths: list[int] = []
    number, shift = 0, 0
    for sign in text:
        five = ord(sign) - 48
        if not 0 <= five < 64:
            raise ValueError(f"{sign!r} is no sign of a run length")
        number |= (five & 31) << shift
        shift += 5
        if five & 32:
            continue
        if five & 16:
            number -= 1 << shift
        lengths.append(number + lengths[-2] if len(lengths) > 2 else number)
        number, shift = 0, 0
    if shift:
        raise ValueError("the text ends within a number")
    return lengths
