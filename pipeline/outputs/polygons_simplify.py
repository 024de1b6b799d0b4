"""Borders with fewer corners: the same for both sides, and the same however the raster is cut."""

from dataclasses import replace

import numpy as np
import shapely

from rasterloom.pipeline.outputs.polygons import COLUMNS, Chains, Patch, offsets, ragged
from rasterloom.pipeline.outputs.polygons_rings import tidied


def simplify(patch: Patch, tolerance: float, linear: np.ndarray) -> Patch:
    """Leave corners out of all borders of a patch whose surroundings it knows.

    A stretch of a border becomes a straight line if none of its corners lies further from that than the
    tolerance (Douglas and Peucker's rule), and if no corner of any other border lies in the convex hull of
    the stretch. So no two borders ever cross or touch, whatever is left out elsewhere: two hulls that hold
    nothing of each other's borders have chords that do not cross. Between two points where three faces meet,
    and on each half of a border that runs into itself, a corner is kept where all lie on one side: else
    two such borders might fall together, and what is between them vanish.

    Parameters
    ----------
    patch
        What has been traced or joined.
    tolerance
        In units on the ground, above 0.
    linear
        (2, 2): a step in pixels (x, y) times this is the step on the ground.

    References
    ----------
    D. Douglas, T. Peucker: Algorithms for the reduction of the number of points required to represent a
    digitized line or its caricature (1973).
    """
    reach = 2 * tolerance / float(np.linalg.svd(linear, compute_uv=False).min()) + 2
    patch = replace(patch, chains=_canonical(patch.chains))
    chains = patch.chains
    rows = np.flatnonzero(_known(patch, reach))
    raw = chains.points[ragged(chains.starts[:-1][~chains.done], chains.lengths[~chains.done])]
    raw = raw[~patch.on_rim(raw)]  # where a border is cut, and may go straight on
    corners = np.unique(np.concatenate([raw, patch.near]), axis=0)
    if len(rows):
        chains = _replaced(chains, rows, _thinned(chains.taken(rows), corners, tolerance, linear))
    return replace(patch, chains=chains, near=_near(patch, chains, corners, reach))


def _known(patch: Patch, reach: float) -> np.ndarray:
    """Which chains are whole, and so far from where the raster goes on that all near them is known."""
    chains, window = patch.chains, patch.window
    if not len(chains):
        return np.zeros(0, bool)
    low = np.minimum.reduceat(chains.points, chains.starts[:-1])
    high = np.maximum.reduceat(chains.points, chains.starts[:-1])
    top, right, bottom, left = patch.inner
    known = ~chains.done
    for inner, far in (
        (top, low[:, 1] - reach > window.row),
        (left, low[:, 0] - reach > window.col),
        (bottom, high[:, 1] + reach < window.row_stop),
        (right, high[:, 0] + reach < window.col_stop),
    ):
        if inner:
            known &= far
    return known


def _thinned(chains: Chains, corners: np.ndarray, tolerance: float, linear: np.ndarray) -> Chains:
    """Whole chains with the points that are kept."""
    ground = chains.points @ linear
    keep = np.zeros(len(chains.points), bool)
    keep[chains.starts[:-1]] = keep[chains.starts[1:] - 1] = True
    others = shapely.STRtree(shapely.points(corners.astype(np.float64)))
    start, stop = chains.starts[:-1], chains.starts[1:] - 1
    # whole chains, and the halves of those that end where they begin
    closed = (chains.points[start] == chains.points[stop]).all(axis=1)
    strict = np.where(closed, 2, 1)
    while len(start):
        many = stop - start > 1
        start, stop, strict = start[many], stop[many], strict[many]
        if not len(start):
            break
        distance, spot, one_sided = _furthest(ground, start, stop)
        straight = (distance <= tolerance) & ~((strict > 0) & one_sided)
        maybe = np.flatnonzero(straight)
        straight[maybe] = _alone(chains.points, start[maybe], stop[maybe], others)
        cut = ~straight
        keep[spot[cut]] = True
        strict = np.tile(np.maximum(strict[cut] - 1, 0), 2)
        start, stop = np.concatenate([start[cut], spot[cut]]), np.concatenate([spot[cut], stop[cut]])
    lengths = np.add.reduceat(keep.astype(np.int64), chains.starts[:-1])
    done = np.ones(len(chains), bool)
    return replace(chains, points=chains.points[keep], starts=offsets(lengths), done=done)


def _furthest(
    ground: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of stretches of points: how far one is from the line between their ends, which, and one-sidedness.

    Distances to a stretch that ends where it begins are those to that point, and the stretch counts as
    one-sided.
    """
    inside = stop - start - 1
    index = ragged(start + 1, inside)
    first = offsets(inside)[:-1]
    origin, along = ground[start], ground[stop] - ground[start]
    length = np.hypot(*along.T)
    away = ground[index] - np.repeat(origin, inside, axis=0)
    chord, size = np.repeat(along, inside, axis=0), np.repeat(length, inside)
    side = chord[:, 0] * away[:, 1] - chord[:, 1] * away[:, 0]
    safe = np.where(size > 0, size, 1.0)
    share = np.clip((chord * away).sum(axis=1) / safe**2, 0, 1)
    gap = np.hypot(*(away - share[:, None] * chord).T)
    most = np.maximum.reduceat(gap, first)
    where = np.flatnonzero(gap >= np.repeat(most, inside) * (1 - 1e-9))
    owner = np.repeat(np.arange(len(start)), inside)[where]
    spot = np.zeros(len(start), np.int64)
    spot[owner[::-1]] = index[where[::-1]]
    slack = 1e-9 * np.maximum(length, 1e-300) ** 2
    one_sided = (np.maximum.reduceat(side, first) <= slack) | (np.minimum.reduceat(side, first) >= -slack)
    return np.where(length > 0, most, np.inf), spot, one_sided


def _alone(points: np.ndarray, start: np.ndarray, stop: np.ndarray, others: shapely.STRtree) -> np.ndarray:
    """Which stretches have no corner but their own in their convex hull."""
    if not len(start):
        return np.zeros(0, bool)
    count = stop - start + 1
    index = ragged(start, count)
    owner = np.repeat(np.arange(len(start)), count)
    lines = shapely.linestrings(points[index].astype(np.float64), indices=owner)
    hulls = shapely.convex_hull(lines)
    shapely.prepare(hulls)
    found = np.bincount(others.query(hulls, predicate="intersects")[0], minlength=len(start))
    return np.asarray(found == count)


def _canonical(chains: Chains) -> Chains:
    """The same, loops that meet no other border begun at the first of their corners, by x and y."""
    rows = np.flatnonzero(chains.loop & ~chains.done)
    if not len(rows):
        return chains
    loops = chains.taken(rows)
    lengths = loops.lengths - 1
    points, lengths = tidied(loops.points[ragged(loops.starts[:-1], lengths)], lengths, corners_only=True)
    starts = offsets(lengths)
    closed = np.insert(np.arange(len(points)), starts[1:], starts[:-1])
    return _replaced(chains, rows, replace(loops, points=points[closed], starts=offsets(lengths + 1)))


def _replaced(chains: Chains, rows: np.ndarray, done: Chains) -> Chains:
    """The chains with some of them as they are now."""
    rest = np.setdiff1d(np.arange(len(chains)), rows)
    others = chains.taken(rest)
    columns = {name: np.concatenate([getattr(others, name), getattr(done, name)]) for name in COLUMNS}
    lengths = np.concatenate([others.lengths, done.lengths])
    return Chains(np.concatenate([others.points, done.points]), offsets(lengths), **columns)


def _near(patch: Patch, chains: Chains, corners: np.ndarray, reach: float) -> np.ndarray:
    """Corners that are near to a border that is still to be simplified, or to where the raster goes on."""
    size = max(int(np.ceil(reach)), 1)
    squares = np.unique(np.concatenate([_passed(chains, size), _along_rim(patch, size)]) // size, axis=0)
    around = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2)
    marked = np.unique(_keys((squares[:, None] + around).reshape(-1, 2)))
    return corners[np.isin(_keys(corners // size), marked)]


def _keys(squares: np.ndarray) -> np.ndarray:
    return np.asarray(squares.astype(np.int64) @ np.array([2**32, 1]))


def _passed(chains: Chains, size: int) -> np.ndarray:
    """(n, 2) points on all borders that are still to be simplified, no further apart than ``size``."""
    rows = np.flatnonzero(~chains.done)
    lengths = chains.lengths[rows] - 1
    index = ragged(chains.starts[rows], lengths)
    begin, end = chains.points[index].astype(np.int64), chains.points[index + 1].astype(np.int64)
    steps = np.abs(end - begin).max(axis=1, initial=0) // size + 2
    which = np.repeat(np.arange(len(index)), steps)
    share = ragged(np.zeros(len(index), np.int64), steps) / (steps[which] - 1)
    return np.floor(begin[which] + share[:, None] * (end - begin)[which]).astype(np.int64)


def _along_rim(patch: Patch, size: int) -> np.ndarray:
    """(n, 2) points on the sides beyond which the raster goes on, no further apart than ``size``."""
    window = patch.window
    xs = np.unique(np.append(np.arange(window.col, window.col_stop, size), window.col_stop))
    ys = np.unique(np.append(np.arange(window.row, window.row_stop, size), window.row_stop))
    top, right, bottom, left = patch.inner
    sides = [np.zeros((0, 2), np.int64)]
    sides += [np.stack([xs, np.full(len(xs), y)], 1) for y in [window.row] * top + [window.row_stop] * bottom]
    sides += [np.stack([np.full(len(ys), x), ys], 1) for x in [window.col] * left + [window.col_stop] * right]
    return np.concatenate(sides)
