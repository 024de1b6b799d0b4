"""Faces whose borders are all known, as polygons."""

from dataclasses import dataclass, replace

import numpy as np
import shapely

from rasterloom.pipeline.outputs.polygons import Chains, Faces, Patch, followed, offsets, ragged


@dataclass(frozen=True, eq=False)
class Shapes:
    """Features, one in each row, in pixels of the raster."""

    outlines: np.ndarray
    """(n,) of shapely polygons, or several where they hang together at corners only; y down."""
    values: np.ndarray
    """(n,) int64."""
    pixels: np.ndarray
    """(n,) int64."""
    shares: np.ndarray
    """(n,) int64, sum of probabilities in units of ``SHARE``."""
    sure: np.ndarray
    """(n,) int64, pixels that have a probability."""

    def __len__(self) -> int:
        return len(self.values)


def settle(patch: Patch, *, least_pixels: float = 0.0, exact: bool = True) -> tuple[Shapes, Patch]:
    """The features of a patch that nothing beyond it can change, and the patch without them.

    Parameters
    ----------
    patch
        Any.
    least_pixels
        Features of fewer pixels are left out.
    exact
        Whether borders stay as they are, so that all that end within the patch are ready. Else only those
        are that have been simplified.
    """
    faces, chains = patch.faces, patch.chains
    waiting = np.zeros(len(faces), bool)
    for inner, side in zip(patch.inner, patch.sides, strict=True):
        if inner:
            waiting[side] = True
    if not exact:
        waiting[chains.left[~chains.done]] = waiting[chains.right[~chains.done]] = True
    waiting[0] = False
    open_group = np.zeros(len(faces), bool)
    open_group[faces.groups[waiting]] = True
    ready = ~open_group[faces.groups]
    ready[0] = False
    return _shapes(faces, chains, ready, least_pixels, corners_only=exact), _without(patch, ready)


def _without(patch: Patch, ready: np.ndarray) -> Patch:
    """The patch without some of its faces, and without the borders that nobody needs any more."""
    kept = ~ready
    kept[0] = False
    chains = patch.chains.taken(np.flatnonzero(kept[patch.chains.left] | kept[patch.chains.right]))
    kept[0] = True
    numbers = np.where(kept, np.cumsum(kept) - 1, 0)
    faces = patch.faces.taken(np.flatnonzero(kept))
    faces = replace(faces, groups=numbers[faces.groups])
    return replace(patch, chains=chains).numbered(numbers, faces)


def _shapes(
    faces: Faces, chains: Chains, ready: np.ndarray, least_pixels: float, *, corners_only: bool
) -> Shapes:
    pixels = np.zeros(len(faces), np.int64)
    np.add.at(pixels, faces.groups, faces.pixels)
    wanted = ready & (pixels[faces.groups] >= least_pixels)
    rows = np.flatnonzero(wanted)
    outlines = _polygons(chains, wanted, corners_only=corners_only)
    # features in the order of their groups' rows
    groups, member = np.unique(faces.groups[rows], return_inverse=True)
    member = member.reshape(-1)
    columns = [faces.values[groups], pixels[groups]]
    for column in (faces.shares, faces.sure):
        total = np.zeros(len(groups), np.int64)
        np.add.at(total, member, column[rows])
        columns.append(total)
    return Shapes(_grouped(outlines, member, len(groups), faces.anchors[rows]), *columns)


def _grouped(outlines: np.ndarray, member: np.ndarray, count: int, anchors: np.ndarray) -> np.ndarray:
    """Several polygons of a group as one."""
    if count == len(outlines):
        return outlines[np.argsort(member)] if count else outlines
    order = np.lexsort((anchors, member))
    shapes = np.asarray(shapely.multipolygons(outlines[order], indices=member[order]), object)
    single = np.bincount(member, minlength=count) == 1
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    return shapes


def _polygons(chains: Chains, wanted: np.ndarray, *, corners_only: bool) -> np.ndarray:
    """A polygon for each wanted face, in the order of the faces' rows."""
    if not wanted.any():
        return np.zeros(0, object)
    ahead, back = np.flatnonzero(wanted[chains.left]), np.flatnonzero(wanted[chains.right])
    chain = np.concatenate([ahead, back])
    face = np.concatenate([chains.left[ahead], chains.right[back]])
    turned = np.arange(len(chain)) >= len(ahead)
    order, bounds = _rings(chains, chain, face, turned)
    points, starts = _walked(chains, chain[order], turned[order])
    lengths = np.add.reduceat(np.diff(starts), bounds[:-1])
    points, lengths = tidied(points, lengths, corners_only=corners_only)
    ring = offsets(lengths)
    hole = _areas(points, ring) > 0  # the face is to the left, and y goes down
    owner = face[order[bounds[:-1]]]
    x, y = points[ring[:-1]].T
    line = np.lexsort((y, x, hole, owner))
    lines = _lines(points[ragged(ring[line], lengths[line])], lengths[line])
    _, which = np.unique(owner[line], return_inverse=True)
    return np.asarray(shapely.polygons(lines, indices=which.reshape(-1)), object)


def _rings(
    chains: Chains, chain: np.ndarray, face: np.ndarray, turned: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sides of chains that follow each other around their faces, and where each ring begins among them."""
    heads, tails = chains.heads[chain], chains.tails[chain]
    begin = np.where(turned[:, None], tails, heads).astype(np.int64)
    end = np.where(turned[:, None], heads, tails).astype(np.int64)
    leave = np.where(turned, (chains.last[chain] + 2) % 4, chains.first[chain])
    arrive = np.where(turned, (chains.first[chain] + 2) % 4, chains.last[chain])
    stride = int(max(begin[:, 0].max(), end[:, 0].max())) + 1
    keys = np.concatenate([begin, end]) @ np.array([1, stride])
    corner, spots = np.unique(keys, return_inverse=True)
    spots = spots.reshape(-1)
    out, into = (face * len(corner) + spots[part] for part in (slice(len(chain)), slice(len(chain), None)))
    order = np.lexsort((leave, out))
    sorted_out, sorted_way = out[order], leave[order]
    spot = np.searchsorted(sorted_out, into)
    beside = np.minimum(spot + 1, len(order) - 1)
    # where a face meets itself at a corner, turning right joins it there and keeps its holes apart
    other = (beside > spot) & (sorted_out[beside] == into) & (sorted_way[spot] != (arrive + 1) % 4)
    after = order[np.where(other, beside, spot)]
    walks, bounds, _ = followed(after)
    return walks, bounds


def _walked(chains: Chains, chain: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of chains one after the other, each without its last."""
    lengths = chains.lengths[chain] - 1
    starts = offsets(lengths)
    step = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    first = np.where(turned, chains.starts[chain + 1] - 1, chains.starts[chain])
    sign = np.where(turned, -1, 1)
    return chains.points[np.repeat(first, lengths) + step * np.repeat(sign, lengths)], starts


def tidied(points: np.ndarray, lengths: np.ndarray, *, corners_only: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rings from their first point on, in the order of x and y; without those on straight lines if wanted."""
    starts = offsets(lengths)
    if corners_only:
        before = points - points[_neighbours(starts, -1)]
        after = points[_neighbours(starts, 1)] - points
        corner = (before[:, 0] == 0) != (after[:, 0] == 0)
        lengths = np.add.reduceat(corner.astype(np.int64), starts[:-1])
        points, starts = points[corner], offsets(lengths)
    keys = points.astype(np.int64) @ np.array([2**32, 1])
    least = np.minimum.reduceat(keys, starts[:-1])
    # a ring is simple, so that its first point is on it once
    first = np.flatnonzero(keys == np.repeat(least, lengths)) - starts[:-1]
    step = np.arange(len(points)) - np.repeat(starts[:-1], lengths)
    turned = (step + np.repeat(first, lengths)) % np.repeat(lengths, lengths)
    return points[np.repeat(starts[:-1], lengths) + turned], lengths


def _neighbours(starts: np.ndarray, step: int) -> np.ndarray:
    """Index of the point before (-1) or after (1) each, around its ring."""
    index = np.arange(starts[-1]) + step
    if step > 0:
        index[starts[1:] - 1] = starts[:-1]
    else:
        index[starts[:-1]] = starts[1:] - 1
    return index


def _areas(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(rings,) twice the area of each ring, below 0 where it goes against the clock on a screen."""
    x, y = points.astype(np.int64).T
    after = _neighbours(starts, 1)
    return np.asarray(np.add.reduceat(x * y[after] - x[after] * y, starts[:-1]))


def _lines(points: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rings of points as closed lines."""
    starts = offsets(lengths)
    closed = np.insert(np.arange(len(points)), starts[1:], starts[:-1])
    rings = np.repeat(np.arange(len(lengths)), lengths + 1)
    return np.asarray(shapely.linearrings(points[closed].astype(np.float64), indices=rings), object)
