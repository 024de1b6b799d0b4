"""Rectangles of a class raster as faces and the borders between them: what one cell knows, and several."""

import io
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from rasterloom.pipeline.rasters.grid import Window

NOTHING = np.iinfo(np.int64).min
"""Value of the face that stands for all pixels that are not wanted, and for all beyond the raster."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Pixels of one value that hang together by their sides, one group of them in each row.

    Row 0 stands for nothing.
    """

    values: np.ndarray
    """(n,) int64."""
    anchors: np.ndarray
    """(n,) int64. Number of its first pixel, counted over the raster row by row: no two have the same."""
    groups: np.ndarray
    """(n,) int64. Row of the first face of those that make one feature."""
    pixels: np.ndarray
    """(n,) int64."""
    shares: np.ndarray
    """(n,) int64. Sum of the probabilities of its pixels, in units of ``SHARE``."""
    sure: np.ndarray
    """(n,) int64. Pixels that have a probability."""

    def __len__(self) -> int:
        return len(self.values)

    def taken(self, rows: np.ndarray) -> "Faces":
        """Some rows. ``groups`` are left as they are."""
        return Faces(*(getattr(self, each.name)[rows] for each in fields(self)))


@dataclass(frozen=True, eq=False)
class Chains:
    """Borders between two faces, from one point where three meet to the next, one in each row.

    Who walks along one has the face of the smaller value to the left.
    """

    points: np.ndarray
    """(k, 2) int32, x and y of corners in pixels of the raster, y down, chain after chain."""
    starts: np.ndarray
    """(n + 1,) int64. Where each begins in ``points``, and the end."""
    left: np.ndarray
    """(n,) int64, row of the face to the left."""
    right: np.ndarray
    """(n,) int64, row of the face to the right."""
    first: np.ndarray
    """(n,) int8. Where it goes at its start: 0 east, 1 south, 2 west, 3 north."""
    last: np.ndarray
    """(n,) int8. Where it goes at its end."""
    done: np.ndarray
    """(n,) bool. Whether it has been simplified."""
    loop: np.ndarray
    """(n,) bool. Whether it comes back to its start without meeting another border."""

    def __len__(self) -> int:
        return len(self.left)

    @property
    def lengths(self) -> np.ndarray:
        """(n,) points of each."""
        return np.diff(self.starts)

    @property
    def heads(self) -> np.ndarray:
        """(n, 2) first point of each."""
        return self.points[self.starts[:-1]]

    @property
    def tails(self) -> np.ndarray:
        """(n, 2) last point of each."""
        return self.points[self.starts[1:] - 1]

    def taken(self, rows: np.ndarray) -> "Chains":
        """Some rows, by their numbers."""
        lengths = self.lengths[rows]
        return Chains(
            self.points[ragged(self.starts[rows], lengths)],
            offsets(lengths),
            *(getattr(self, name)[rows] for name in COLUMNS),
        )


@dataclass(frozen=True, eq=False)
class Patch:
    """What a rectangle of a raster knows of its faces, as far as it is not settled."""

    window: Window
    shape: tuple[int, int]
    """Of the raster, (height, width)."""
    faces: Faces
    chains: Chains
    near: np.ndarray
    """(m, 2) int32. Corners of borders that are gone, near to what is still open."""
    top: np.ndarray
    """Row of the face of each pixel of the first row of pixels, from left to right."""
    right: np.ndarray
    bottom: np.ndarray
    left: np.ndarray

    @property
    def inner(self) -> tuple[bool, bool, bool, bool]:
        """Top, right, bottom, left: whether the raster goes on beyond that side."""
        height, width = self.shape
        window = self.window
        return window.row > 0, window.col_stop < width, window.row_stop < height, window.col > 0

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Top, right, bottom, left."""
        return self.top, self.right, self.bottom, self.left

    def on_rim(self, points: np.ndarray) -> np.ndarray:
        """(n,) bool: which points lie on a side beyond which the raster goes on."""
        (x, y), window = points.T, self.window
        top, right, bottom, left = self.inner
        return np.asarray(
            (top & (y == window.row))
            | (bottom & (y == window.row_stop))
            | (left & (x == window.col))
            | (right & (x == window.col_stop))
        )

    def numbered(self, numbers: np.ndarray, faces: Faces) -> "Patch":
        """The same with other faces: ``numbers`` says which row each of its rows is now."""
        chains = replace(self.chains, left=numbers[self.chains.left], right=numbers[self.chains.right])
        sides = {name: numbers[getattr(self, name)] for name in ("top", "right", "bottom", "left")}
        return replace(self, faces=faces, chains=chains, **sides)

    def to_bytes(self) -> bytes:
        """A file that :meth:`from_bytes` reads; the same patch gives the same bytes."""
        window = self.window
        arrays = {name: getattr(self, name) for name in ("near", "top", "right", "bottom", "left")}
        for kind, table in (("faces", self.faces), ("chains", self.chains)):
            arrays |= {f"{kind}_{each.name}": getattr(table, each.name) for each in fields(table)}
        place = np.array([window.row, window.col, window.height, window.width, *self.shape], np.int64)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, place=place, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Patch":
        """What :meth:`to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            columns = {name: stored[name] for name in stored.files}
        row, col, height, width, *shape = columns["place"].tolist()
        return cls(
            Window(row, col, height, width),
            (shape[0], shape[1]),
            Faces(*(columns[f"faces_{each.name}"] for each in fields(Faces))),
            Chains(*(columns[f"chains_{each.name}"] for each in fields(Chains))),
            *(columns[name] for name in ("near", "top", "right", "bottom", "left")),
        )


COLUMNS = ("left", "right", "first", "last", "done", "loop")
"""What chains have one of each."""


def offsets(lengths: np.ndarray) -> np.ndarray:
    """(n + 1,) int64: where each of several stretches begins, laid end to end, and the end."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def ragged(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Indices of stretches, each from its start on, one after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


def followed(after: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Walks from link to link.

    Parameters
    ----------
    after
        (n,) int64. The link after each; -1 after the last of a walk. No two have the same.

    Returns
    -------
    order : ndarray
        (n,) links, walk after walk: first those with an end, then those that come back to their start.
    starts : ndarray
        (walks + 1,) where each begins in ``order``, and the end.
    count : int
        How many have an end.
    """
    count = len(after)
    links = np.flatnonzero(after >= 0)
    graph = coo_array((np.ones(len(links), np.int8), (links, after[links])), shape=(count, count))
    walk = connected_components(graph, directed=False)[1]
    begins = np.ones(count, bool)
    begins[after[links]] = False
    opened = np.flatnonzero(begins)
    # walks that come back begin at their least link
    closed = np.ones(int(walk.max(initial=-1)) + 1, bool)
    closed[walk[opened]] = False
    least = np.zeros(len(closed), np.int64)
    least[walk[::-1]] = np.arange(count)[::-1]
    heads = np.concatenate([opened, least[closed]])
    number = np.empty(len(closed), np.int64)
    number[walk[heads]] = np.arange(len(heads))
    # steps of all walks in turn, from a root before their first links: links of one keep their order
    ends = np.concatenate([[0], np.cumsum(after >= 0), [len(links) + len(heads)]])
    targets = np.concatenate([after[links], heads])
    rooted = csr_array((np.ones(len(targets), np.int8), targets, ends), shape=(count + 1, count + 1))
    steps = breadth_first_order(rooted, count, return_predecessors=False)[1:]
    order = steps[np.argsort(number[walk[steps]], kind="stable")]
    lengths = np.bincount(number[walk], minlength=len(heads))
    return order.astype(np.int64), offsets(lengths), len(opened)
