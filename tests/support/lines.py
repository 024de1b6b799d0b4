"""Networks of lines made the plain way: the whole raster at once, one pixel after the other."""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import thin

Pixel = tuple[int, int]
Arc = list[Pixel]


@st.composite
def bodies(draw: st.DrawFn, most: int = 48) -> np.ndarray:
    """(row, column) of bool: noise, blobs, thick strokes, or all of it."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    kind = draw(st.sampled_from(["noise", "blobs", "strokes", "full"]))
    if kind == "noise":
        return np.asarray(random.random(shape) < random.choice([0.2, 0.5, 0.8]))
    if kind == "blobs":
        smooth = ndimage.gaussian_filter(random.random(shape), random.uniform(0.8, 4.0))
        return np.asarray(smooth > np.quantile(smooth, random.uniform(0.3, 0.8)))
    if kind == "full":
        body = np.ones(shape, bool)
        body[random.integers(0, shape[0]), random.integers(0, shape[1])] = False
        return body
    return strokes(random, shape, count=int(random.integers(1, 8)))


def strokes(random: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """Straight strokes one to seven pixels wide between points anywhere."""
    rows, cols = np.indices(shape)
    body = np.zeros(shape, bool)
    for _ in range(count):
        (y1, x1), (y2, x2) = random.uniform(0, shape, (2, 2))
        long = max(np.hypot(y2 - y1, x2 - x1), 1e-6)
        along = np.clip(((rows - y1) * (y2 - y1) + (cols - x1) * (x2 - x1)) / long**2, 0, 1)
        away = np.hypot(rows - y1 - along * (y2 - y1), cols - x1 - along * (x2 - x1))
        body |= away <= random.uniform(0.5, 3.5)
    return body


def naive_lines(body: np.ndarray, minimum_length: float = 0.0) -> list[dict[str, Any]]:
    """The lines of a raster: ``from`` and ``to``, ``points`` (row, column) and ``pixels``, in an order of
    their own."""
    pixels = {(int(row), int(col)) for row, col in zip(*np.nonzero(thin(body)), strict=True)}
    joined = {pixel: _neighbours(pixel, pixels) for pixel in pixels}
    crowd = _crowds({pixel for pixel in pixels if len(joined[pixel]) > 2}, joined)
    columns = max(body.shape[1], 3)

    def node(pixel: Pixel) -> int:
        row, col = min(crowd.get(pixel, {pixel}))
        return row * columns + col

    edges, rings = [], []
    for arc in _arcs(joined):
        if len(joined[arc[0]]) == 2:
            rings.append([arc])
        elif not (len(arc) == 2 and arc[0] in crowd and crowd.get(arc[0]) is crowd.get(arc[1])):
            edges.append([arc])
    while True:
        edges = _merged(edges, node)
        gone = _folds(edges, node) or _spurs(edges, node, minimum_length)
        if not gone:
            break
        edges = [edge for number, edge in enumerate(edges) if number not in gone]
    return sorted(
        (_told(edge, node, crowd) for edge in edges + rings), key=lambda line: (line["from"], line["pixels"])
    )


def _neighbours(pixel: Pixel, pixels: set[Pixel]) -> list[Pixel]:
    row, col = pixel
    found = [
        place for place in ((row, col + 1), (row + 1, col), (row, col - 1), (row - 1, col)) if place in pixels
    ]
    for down in (-1, 1):
        for right in (-1, 1):
            corner = (row + down, col + right)
            if corner in pixels and (row, col + right) not in pixels and (row + down, col) not in pixels:
                found.append(corner)
    return found


def _crowds(junctions: set[Pixel], joined: dict[Pixel, list[Pixel]]) -> dict[Pixel, set[Pixel]]:
    """Of each junction pixel, all that it touches through others of their kind."""
    crowd: dict[Pixel, set[Pixel]] = {}
    for first in junctions:
        if first in crowd:
            continue
        members, waiting = {first}, [first]
        while waiting:
            for other in joined[waiting.pop()]:
                if other in junctions and other not in members:
                    members.add(other)
                    waiting.append(other)
        crowd |= dict.fromkeys(members, members)
    return crowd


def _arcs(joined: dict[Pixel, list[Pixel]]) -> list[Arc]:
    """Ways between pixels that do not have just two neighbours, and rings from their first pixel."""
    found: dict[tuple[Pixel, ...], Arc] = {}
    seen: set[Pixel] = set()
    starts = [pixel for pixel in joined if len(joined[pixel]) != 2]
    for pixel in [*starts, *sorted(joined)]:
        if pixel in seen:
            continue
        seen.add(pixel)
        for other in joined[pixel]:
            arc = [pixel, other]
            while len(joined[arc[-1]]) == 2 and arc[-1] != pixel:
                seen.add(arc[-1])
                one, two = joined[arc[-1]]
                arc.append(two if one == arc[-2] else one)
            found[min(tuple(arc), tuple(arc[::-1]))] = arc
    return list(found.values())


def _merged(edges: list[list[Arc]], node: Any) -> list[list[Arc]]:
    """Lines put together where only two ends meet, at the last node first."""
    for place in sorted({node(end) for edge in edges for end in _ends(edge)}, reverse=True):
        mine = [number for number, edge in enumerate(edges) for end in _ends(edge) if node(end) == place]
        if len(mine) != 2 or mine[0] == mine[1]:
            continue
        one, two = edges[mine[0]], edges[mine[1]]
        one = one if node(one[-1][-1]) == place else _turned(one)
        two = two if node(two[0][0]) == place else _turned(two)
        edges = [edge for number, edge in enumerate(edges) if number not in mine] + [one + two]
    return edges


def _ends(edge: list[Arc]) -> tuple[Pixel, Pixel]:
    return edge[0][0], edge[-1][-1]


def _turned(edge: list[Arc]) -> list[Arc]:
    return [arc[::-1] for arc in edge[::-1]]


def _length(edge: list[Arc]) -> float:
    moves = Counter(abs(one[0] - two[0]) + abs(one[1] - two[1]) for arc in edge for one, two in pairwise(arc))
    return moves[1] + moves[2] * float(np.hypot(1, 1))


def _folds(edges: list[list[Arc]], node: Any) -> set[int]:
    """Lines that leave a node and come back over a single pixel beside it."""
    return {
        number
        for number, edge in enumerate(edges)
        if node(edge[0][0]) == node(edge[-1][-1]) and sum(len(arc) - 1 for arc in edge) <= 2
    }


def _spurs(edges: list[list[Arc]], node: Any, minimum_length: float) -> set[int]:
    degree = Counter(node(end) for edge in edges for end in _ends(edge))
    gone, hanging = set(), defaultdict(list)
    for number, edge in enumerate(edges):
        ends = [node(end) for end in _ends(edge)]
        if _length(edge) >= minimum_length:
            continue
        free = [end for end in ends if degree[end] == 1]
        if len(free) == 2:
            gone.add(number)
        elif free:
            base = ends[0] if ends[1] == free[0] else ends[1]
            hanging[base].append((-_length(edge), free[0], number))
    for base, spurs in hanging.items():
        staying = max(0, 2 - (degree[base] - len(spurs)))
        gone |= {number for _, _, number in sorted(spurs)[staying:]}
    return gone


def _told(edge: list[Arc], node: Any, crowd: dict[Pixel, set[Pixel]]) -> dict[str, Any]:
    ends = [node(end) for end in _ends(edge)]
    if ends[0] == ends[1]:
        pixels = min(_pixels(edge), _pixels(_turned(edge)))
    else:
        pixels = _pixels(edge if ends[0] < ends[1] else _turned(edge))
    points = [tuple(np.mean(sorted(crowd.get(pixel, {pixel})), axis=0).tolist()) for pixel in pixels]
    return {"from": min(ends), "to": max(ends), "pixels": pixels, "points": points}


def _pixels(edge: list[Arc]) -> list[Pixel]:
    """All pixels along a line; where arcs meet, those of the arc before."""
    return [*edge[0], *(pixel for arc in edge[1:] for pixel in arc[1:])]
