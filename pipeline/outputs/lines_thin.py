"""Thin bodies to lines one pixel wide, some passes at a time, so that a raster can be thinned in parts."""

import numpy as np

REACH = 2
"""Pixels by which the say of a pixel spreads in one pass: two steps that look at direct neighbours."""

_AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Row and column of the neighbours x1 to x8 of the reference: east, then against the clock."""


def thin_passes(body: np.ndarray, passes: int) -> tuple[np.ndarray, np.ndarray]:
    """Take pixels off the sides of bodies, pass by pass, until only lines are left or the passes are done.

    The same as ``skimage.morphology.thin(body, max_num_iter=passes)``. Only pixels whose surroundings have
    changed are looked at, so time goes with what is taken off.

    Parameters
    ----------
    body
        (row, column) of bool. Beyond its edge there is nothing. A pixel further than ``REACH * passes`` from
        the edge does not depend on where the edge is.
    passes
        Most passes, at least 1.

    Returns
    -------
    ndarray, ndarray
        What is left, and the positions (n, 2), row and column, of what the last pass took. None of them
        means that the body is thin: more passes change nothing.

    References
    ----------
    Guo and Hall (1989), Parallel thinning with two-subiteration algorithms, doi:10.1145/62065.62074.
    """
    width = body.shape[1] + 2
    left = np.pad(body, 1).astype(np.uint8)
    flat = left.reshape(-1)
    around = np.array([row * width + col for row, col in _AROUND])
    todo = [_sides(left)] * 2  # what the first and the second step have to look at
    seen = np.zeros(len(flat), np.int64)
    taken: list[np.ndarray] = []
    for _ in range(passes):
        taken = []
        for step, table in enumerate((_FIRST, _SECOND)):
            gone = _step(flat, todo[step], around, table)
            near = _near(gone, around, flat, seen)
            todo[step] = near
            todo[1 - step] = _once(np.concatenate([todo[1 - step], near]), flat, seen)
            taken.append(gone)
        if not sum(map(len, taken)):
            break
    places = np.stack(np.divmod(np.concatenate(taken), width), axis=1) - 1
    return left[1:-1, 1:-1].astype(bool), places


def _sides(padded: np.ndarray) -> np.ndarray:
    """Flat places of all pixels of a body with a neighbour that is none."""
    inner = padded[1:-1, 1:-1].astype(bool)
    height, width = inner.shape
    within = inner.copy()
    for row, col in _AROUND:
        within &= padded[1 + row : 1 + row + height, 1 + col : 1 + col + width].astype(bool)
    rows, cols = np.nonzero(inner & ~within)
    return (rows + 1) * (width + 2) + cols + 1


def _step(flat: np.ndarray, places: np.ndarray, around: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Take what the table says of some pixels, all at once; says which they were."""
    code = np.zeros(len(places), np.uint8)
    for bit, step in enumerate(around.tolist()):
        code |= flat[places + step] << bit
    taken = places[table[code]]
    flat[taken] = 0
    return taken


def _near(taken: np.ndarray, around: np.ndarray, flat: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The pixels that are left around some that were taken, each once."""
    return _once((taken[:, None] + around).reshape(-1), flat, seen)


def _once(places: np.ndarray, flat: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The places that are still part of a body, each once; quicker than sorting them."""
    places = places[flat[places] != 0]
    number = np.arange(len(places))
    seen[places] = number
    return places[seen[places] == number]


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For each surrounding, with x1 as the lowest bit, whether the first and the second step take a pixel."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    x1, x2, x3, x4, x5, x6, x7, x8 = bits.astype(bool).T
    crossings = (~x1 & (x2 | x3)).astype(int) + (~x3 & (x4 | x5)) + (~x5 & (x6 | x7)) + (~x7 & (x8 | x1))
    one = (x1 | x2).astype(int) + (x3 | x4) + (x5 | x6) + (x7 | x8)
    other = (x2 | x3).astype(int) + (x4 | x5) + (x6 | x7) + (x8 | x1)
    fewest = np.minimum(one, other)
    simple = (crossings == 1) & (fewest >= 2) & (fewest <= 3)
    return simple & ~((x2 | x3 | ~x8) & x1), simple & ~((x6 | x7 | ~x4) & x5)


_FIRST, _SECOND = _tables()
