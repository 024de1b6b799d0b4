"""Greedy suppression where some of the answers have to wait."""

import numpy as np

DROPPED, KEPT, OPEN = np.int8(0), np.int8(1), np.int8(2)


def suppress(count: int, higher: np.ndarray, lower: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Decide in the order of rank what is kept, as far as it can be known.

    What overlaps a kept thing of higher rank is dropped. Of what is left, a thing whose own fate is unknown,
    or that of one of higher rank that it overlaps, is open. All others are kept. However the open ones are
    decided later, from what is known then, the kept stay kept and the dropped stay dropped.

    Parameters
    ----------
    count
        Number of things. They are named by their rank: 0 is the highest.
    higher, lower
        (m,) Pairs that overlap too much, the higher rank (smaller number) first.
    unknown
        (count,) Whether something that is not seen here may yet overlap it.

    Returns
    -------
    ndarray
        (count,) DROPPED, KEPT or OPEN.
    """
    state = np.where(unknown, OPEN, KEPT)
    order = np.argsort(higher, kind="stable")
    higher, lower = higher[order], lower[order]
    names, starts = np.unique(higher, return_index=True)
    stops = np.searchsorted(higher, names, side="right")
    for name, start, stop in zip(names.tolist(), starts.tolist(), stops.tolist(), strict=True):
        mine = state[name]
        if mine == KEPT:
            state[lower[start:stop]] = DROPPED
        elif mine == OPEN:
            others = lower[start:stop]
            state[others[state[others] != DROPPED]] = OPEN
    return state
