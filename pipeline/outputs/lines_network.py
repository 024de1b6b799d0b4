"""From arcs of all parts of a raster to a network: lines between nodes, without short spurs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rasterloom.pipeline.outputs.lines_chains import Chains, chains_of


@dataclass(frozen=True, eq=False)
class Network:
    """Lines that meet in nodes."""

    arcs: np.ndarray
    """(m,) int64, rows of the table of arcs, line by line from its first node to its last."""
    turned: np.ndarray
    """(m,) bool. Whether the arc is gone along backwards."""
    starts: np.ndarray
    """(n + 1,) int64, where each line begins in ``arcs``, and where the last one ends."""
    nodes: np.ndarray
    """(n, 2) int64, node at the start and at the end, the lower one first: the first pixel of a node."""
    rings: np.ndarray
    """(n,) bool. Whether it is a ring that meets no other line, and could begin anywhere."""
    crowds: np.ndarray
    """(c,) int64, sorted: the pixels of nodes of more than one pixel."""
    centres: np.ndarray
    """(c, 2) float64, row and column of the middle of the node of each of these."""

    def __len__(self) -> int:
        return len(self.starts) - 1


def network_of(
    ends: np.ndarray,
    steps: np.ndarray,
    width: int,
    *,
    sizes: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    minimum_length: float = 0.0,
) -> Network:
    """Put arcs together to lines between nodes.

    Pixels where more than two lines meet, and that touch each other, are one node in their middle. A line
    with a free end that is shorter than ``minimum_length`` is a spur and is taken off, except that the
    longest ones stay where two others or more do not go on: a fork at the end of a road leaves its longer
    branch. This is done for all at once, and repeated with the lines that have come of it until nothing more
    changes. A line with two free ends is taken off, too, where it is that short.

    Parameters
    ----------
    ends
        (n, 2) int64, the pixels at both ends of each arc.
    steps
        (n, 4) int64, as :meth:`rasterloom.pipeline.outputs.lines_trace.Arcs.steps` counts them.
    width
        Columns of the raster.
    sizes
        Length of a step of each kind.
    minimum_length
        In the units of ``sizes``.

    Returns
    -------
    Network
        It depends on the pixels alone, not on how the arcs were cut, but for the order of its lines, the way
        round rings, and where those begin that meet no other line.
    """
    graph = _graph(ends, steps, width)
    alive = np.ones(len(graph.rows), bool)
    while True:
        rows = np.flatnonzero(alive)
        links = graph.links[rows]
        degree = np.bincount(links.reshape(-1), minlength=len(graph.names))
        chains = chains_of(links, degree != 2, ~graph.junction)
        along = steps[graph.rows[rows[chains.links]]]
        sums = np.add.reduceat(along, chains.starts[:-1], axis=0) if len(along) else along
        long = _lengths(sums, sizes)
        tips = _tips(links, chains)
        # from a node over one pixel beside it and back: nothing but a node with a corner filled
        gone = (tips[:, 0] == tips[:, 1]) & graph.junction[tips[:, 0]] & (sums.sum(axis=1) <= 2)
        if not gone.any():
            gone = _spurs(tips, degree, long, minimum_length)
        if not gone.any():
            return _told(graph, rows, chains, tips)
        alive[rows[chains.links[np.repeat(gone, np.diff(chains.starts))]]] = False


@dataclass(frozen=True, eq=False)
class _Graph:
    rows: np.ndarray
    """Rows of the table of arcs that are links of the graph."""
    links: np.ndarray
    """(n, 2) their nodes, numbered as their names are sorted."""
    names: np.ndarray
    """First pixel of each node."""
    junction: np.ndarray
    """Whether more than two lines met in a node at the beginning."""
    crowds: np.ndarray
    centres: np.ndarray


def _graph(ends: np.ndarray, steps: np.ndarray, width: int) -> _Graph:
    pixels, place = np.unique(ends, return_inverse=True)
    place = place.reshape(-1, 2)
    count = len(pixels)
    junction = np.bincount(place.reshape(-1), minlength=count) >= 3
    inner = junction[place].all(axis=1) & (steps.sum(axis=1) == 1)
    one, other = place[inner].T
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    group = connected_components(graph, directed=False)[1] if count else np.zeros(0, np.int64)
    first = np.unique(group, return_index=True)[1]  # pixels are sorted, so this is the lowest of each
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    node = rank[group]
    links = node[place]
    rows = np.flatnonzero(~inner)
    size = np.bincount(node, minlength=len(first))
    many = np.flatnonzero(size[node] > 1)
    sums = [np.bincount(node, weights=part, minlength=len(first)) for part in np.divmod(pixels, width)]
    centres = np.stack([part[node[many]] / size[node[many]] for part in sums], axis=1)
    met = np.zeros(len(first), bool)
    met[node[junction]] = True
    return _Graph(rows, links[rows], pixels[np.sort(first)], met, pixels[many], centres)


def _tips(links: np.ndarray, chains: Chains) -> np.ndarray:
    """(n, 2) the nodes at which each chain begins and ends."""
    first, last = chains.starts[:-1], chains.starts[1:] - 1
    begin = links[chains.links[first], chains.turned[first].astype(int)]
    end = links[chains.links[last], 1 - chains.turned[last].astype(int)]
    return np.stack([begin, end], axis=1)


def _lengths(steps: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    """(n,) lengths. Steps of one size are counted together: ways of as many steps are then equally long."""
    different, kinds = np.unique(np.asarray(sizes, np.float64), return_inverse=True)
    long = np.zeros(len(steps))
    for number, size in enumerate(different):
        long += steps[:, kinds == number].sum(axis=1) * size
    return long


def _spurs(tips: np.ndarray, degree: np.ndarray, long: np.ndarray, minimum_length: float) -> np.ndarray:
    """(n,) bool: the lines to take off now."""
    short, free = long < minimum_length, degree[tips] == 1
    gone = short & free.all(axis=1)
    mine = np.flatnonzero(short & (free[:, 0] != free[:, 1]))
    turn = free[mine, 0].astype(int)
    base, tip = tips[mine, turn], tips[mine, 1 - turn]
    order = np.lexsort((tip, -long[mine], base))
    mine, base = mine[order], base[order]
    # of those at one node, how many come before each
    begins = np.flatnonzero(np.diff(base, prepend=-1))
    count = np.diff(np.append(begins, len(base)))
    before = np.arange(len(base)) - np.repeat(begins, count)
    staying = np.maximum(0, 2 - (degree[base] - np.repeat(count, count)))
    gone[mine[before >= staying]] = True
    return gone


def _told(graph: _Graph, rows: np.ndarray, chains: Chains, tips: np.ndarray) -> Network:
    back = tips[:, 0] > tips[:, 1]
    sizes = np.diff(chains.starts)
    place = np.arange(len(chains.links))
    flipped = np.repeat(back, sizes)
    mirrored = np.repeat(chains.starts[:-1] + chains.starts[1:] - 1, sizes) - place
    order = np.where(flipped, mirrored, place)
    rings = (tips[:, 0] == tips[:, 1]) & ~graph.junction[tips[:, 0]]
    return Network(
        graph.rows[rows[chains.links[order]]],
        chains.turned[order] ^ flipped,
        chains.starts,
        graph.names[np.sort(tips, axis=1)].reshape(-1, 2),
        rings,
        graph.crowds,
        graph.centres,
    )
