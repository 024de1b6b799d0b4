"""Links put end to end: from the steps of a line to the line."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True, eq=False)
class Chains:
    """Rows of links, each going on where the one before it ends."""

    links: np.ndarray
    """(m,) int64, every link once, chain by chain."""
    turned: np.ndarray
    """(m,) bool. Whether the link is gone along from its second end to its first."""
    starts: np.ndarray
    """(n + 1,) int64, where each chain begins in ``links``, and where the last one ends."""


def chains_of(ends: np.ndarray, stops: np.ndarray, rank: np.ndarray | None = None) -> Chains:
    """Put links together wherever they meet at a point that is no stop.

    Parameters
    ----------
    ends
        (m, 2) int, the points that each link joins. A point that is no stop is named exactly twice.
    stops
        (p,) bool. Where chains end.
    rank
        (p,) numbers. A ring without a stop begins and ends at its point of least rank; None takes the first.

    Returns
    -------
    Chains
        Which way a chain runs is decided by the order of the links.
    """
    if not len(ends):
        none = np.zeros(0, np.int64)
        return Chains(none, none.astype(bool), np.zeros(1, np.int64))
    stops = stops | _ring_starts(ends, stops, rank)
    # a half is a link in one direction: half 2l goes along link l, half 2l + 1 back
    tail, head = ends.reshape(-1).astype(np.int64), ends[:, ::-1].reshape(-1)
    half = np.arange(len(tail))
    # where just two halves leave a point, the one that is not the way back is their sum less that
    leaving = np.bincount(tail, weights=half, minlength=len(stops)).astype(np.int64)
    after = np.where(stops[head], half, leaving[head] - (half ^ 1))
    last, steps = _followed(after, half)
    kept = np.flatnonzero(last < last[half ^ 1])  # each chain in one of its directions
    kept = kept[np.lexsort((-steps[kept], last[kept]))]
    begins = np.flatnonzero(np.diff(last[kept], prepend=-1))
    return Chains(kept >> 1, (kept & 1).astype(bool), np.append(begins, len(kept)))


def _followed(after: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last half of the chain that each is in, and how many there are up to it: in doubling leaps."""
    last, steps = after, (after != half).astype(np.int64)
    while True:
        further = last[last]
        if (further == last).all():
            return last, steps
        steps = steps + steps[last]
        last = further


def _ring_starts(ends: np.ndarray, stops: np.ndarray, rank: np.ndarray | None) -> np.ndarray:
    """The point at which each ring without a stop is opened."""
    count = len(stops)
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(count, count))
    groups, group = connected_components(graph, directed=False)
    closed = np.ones(groups, bool)
    closed[group[stops]] = False
    linked = np.zeros(count, bool)
    linked[ends] = True
    points = np.flatnonzero(linked & closed[group])
    if rank is not None:
        points = points[np.argsort(rank[points], kind="stable")]
    opened = np.zeros(count, bool)
    opened[points[np.unique(group[points], return_index=True)[1]]] = True
    return opened
