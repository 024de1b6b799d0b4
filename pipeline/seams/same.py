"""Which candidates are the same thing, and what that thing is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rasterloom.pipeline.seams.candidates import Candidates, ChipViews
from rasterloom.pipeline.seams.found import Found
from rasterloom.pipeline.seams.overlap import area, areal, clipped, iou, overlapping_pairs

_SAME = 0.5
"""IoU, within what two chips both see, above which their candidates are one thing."""

_MOST_PAIRS = 1_000_000
"""Pairs of members of a group that are looked at in one go."""


def in_order(candidates: Candidates, views: ChipViews) -> Candidates:
    """The candidates within what their chips see, in an order that only they themselves decide.

    Those without any area are left out.
    """
    boxes = clipped(candidates.boxes, views.views(candidates.chips))
    candidates = replace(candidates, boxes=boxes).taken(area(boxes) > 0)
    outlines = np.unique(candidates.outlines, return_inverse=True)[1]
    keys = (outlines, *candidates.cut.T, candidates.scores, candidates.labels, *candidates.boxes.T)
    return candidates.taken(np.lexsort([*keys, *candidates.chips.T]))


def groups_of(candidates: Candidates, views: ChipViews) -> np.ndarray:
    """(n,) number of the thing that each candidate belongs to, from 0 without gaps.

    Two candidates of different chips and of one label are the same thing if their IoU, within what both chips
    see, is above a half: that of their outlines where both have one, else that of their boxes. Being the same
    thing passes on: if a is b, and b is c, then a is c.
    """
    seen = views.views(candidates.chips)
    links = [np.zeros((2, 0), np.int64)]
    for first, second in overlapping_pairs(candidates.boxes, candidates.labels):
        strangers = (candidates.chips[first] != candidates.chips[second]).any(axis=1)
        first, second = first[strangers], second[strangers]
        both = clipped(seen[first], seen[second])
        same = _agreement(candidates, first, second, both) > _SAME
        links.append(np.stack([first[same], second[same]]))
    first, second = np.concatenate(links, axis=1)
    count = len(candidates)
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    groups: np.ndarray = connected_components(graph, directed=False)[1]
    return groups


def _agreement(
    candidates: Candidates, first: np.ndarray, second: np.ndarray, limits: np.ndarray
) -> np.ndarray:
    """(n,) IoU of pairs of candidates within limits (n, 4)."""
    boxes = candidates.boxes
    agreement = iou(clipped(boxes[first], limits), clipped(boxes[second], limits))
    outlined = (candidates.outlines[first] != b"") & (candidates.outlines[second] != b"")
    # An outline's box is not the box of a part of it, so the parts themselves are compared.
    outlined = np.flatnonzero(outlined & (area(limits) > 0))
    if len(outlined):
        within = shapely.box(*limits[outlined].T)
        one = areal(shapely.intersection(_shapes(candidates.outlines[first[outlined]]), within))
        other = areal(shapely.intersection(_shapes(candidates.outlines[second[outlined]]), within))
        shared = shapely.area(shapely.intersection(one, other))
        common = shapely.area(one) + shapely.area(other) - shared
        agreement[outlined] = np.divide(shared, common, out=np.zeros_like(shared), where=common > 0)
    return agreement


def _shapes(outlines: np.ndarray) -> np.ndarray:
    """The outlines as valid shapes."""
    return areal(shapely.from_wkb(outlines))


@dataclass(frozen=True, eq=False)
class Things:
    """What groups of candidates come to, one thing in each row."""

    found: Found
    counts: np.ndarray
    """(n,) bool. Whether the thing is told, or dropped because only a chip that does not own it saw it."""


def things_of(
    candidates: Candidates, groups: np.ndarray, views: ChipViews, *, exclude_pad_detections: bool
) -> Things:
    """What each group comes to, in the order of the groups' numbers.

    A group with a member that is not cut is its best such member: one whose chip owns its centre comes first,
    then the higher score. A group of cut members is what they cover together, and it is still cut if a side
    is left that none of the others sees beyond.
    """
    count = int(groups.max(initial=-1)) + 1
    centres = (candidates.boxes[:, :2] + candidates.boxes[:, 2:]) / 2
    owned = (views.owners(centres) == candidates.chips).all(axis=1)
    whole = np.logical_not(candidates.cut.any(axis=1))
    best = np.lexsort((np.arange(len(groups)), -candidates.scores, ~owned, ~whole, groups))
    starts = np.searchsorted(groups[best], np.arange(count))
    chosen = best[starts]  # the best of each group
    found = Found(
        candidates.boxes[chosen],
        candidates.scores[chosen],
        candidates.labels[chosen],
        np.zeros(count, bool),
        candidates.outlines[chosen],
    )
    pieces = np.flatnonzero(~whole[chosen])  # groups in which every member is cut
    found = _with_joined(found, pieces, candidates, groups, views)
    alone = np.bincount(groups, minlength=count) == 1
    return Things(found, ~alone | owned[chosen] | (not exclude_pad_detections))


def _with_joined(
    found: Found, pieces: np.ndarray, candidates: Candidates, groups: np.ndarray, views: ChipViews
) -> Found:
    """The things with those groups replaced by what their members cover together."""
    if not len(pieces):
        return found
    members = np.flatnonzero(np.isin(groups, pieces))
    members = members[np.argsort(groups[members], kind="stable")]
    starts = np.searchsorted(groups[members], pieces)
    boxes, scores = found.boxes.copy(), found.scores.copy()
    cut, outlines = found.cut.copy(), found.outlines.copy()
    boxes[pieces, :2] = np.minimum.reduceat(candidates.boxes[members, :2], starts)
    boxes[pieces, 2:] = np.maximum.reduceat(candidates.boxes[members, 2:], starts)
    scores[pieces] = np.maximum.reduceat(candidates.scores[members], starts)
    left = _still_cut(candidates.taken(members), starts, views)
    cut[pieces] = np.logical_or.reduceat(left, starts)
    for piece, parts in zip(pieces.tolist(), np.split(members, starts[1:]), strict=True):
        if len(parts) > 1:
            outlines[piece] = _union(candidates.taken(parts))
    return Found(boxes, scores, found.labels, cut, outlines)


def _still_cut(members: Candidates, starts: np.ndarray, views: ChipViews) -> np.ndarray:
    """(n,) whether a member is cut where no other of its group sees on. Groups begin at ``starts``."""
    seen = views.views(members.chips)
    sizes = np.diff(np.append(starts, len(members)))
    left = members.cut.copy()
    for mine, other, begins in _pairs_within(starts, sizes):
        box, view, beyond = members.boxes[mine], seen[mine], seen[other]
        tall = (beyond[:, 1] <= box[:, 1]) & (beyond[:, 3] >= box[:, 3])  # all of a left or right side
        wide = (beyond[:, 0] <= box[:, 0]) & (beyond[:, 2] >= box[:, 2])
        sees = np.stack(
            [
                tall & (beyond[:, 0] < view[:, 0]),
                wide & (beyond[:, 1] < view[:, 1]),
                tall & (beyond[:, 2] > view[:, 2]),
                wide & (beyond[:, 3] > view[:, 3]),
            ],
            axis=1,
        )
        left[mine[begins]] &= ~np.logical_or.reduceat(sees, begins)
    return np.logical_or.reduce(left, axis=1)


def _pairs_within(
    starts: np.ndarray, sizes: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every member with every one of its group, itself too, and where each one's pairs begin; in blocks."""
    first, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)  # of each member's group
    blocks = np.cumsum(size) // _MOST_PAIRS
    for rows in np.split(np.arange(len(size)), np.flatnonzero(np.diff(blocks)) + 1):
        mine = np.repeat(rows, size[rows])
        begins = np.cumsum(size[rows]) - size[rows]
        other = first[mine] + np.arange(len(mine)) - np.repeat(begins, size[rows])
        yield mine, other, begins


def _union(parts: Candidates) -> bytes:
    """The outlines of one thing's parts as one; a part that has none counts with its box."""
    known = parts.outlines != b""
    if not known.any():
        return b""
    shapes = shapely.box(*parts.boxes.T)
    shapes[known] = _shapes(parts.outlines[known])
    union: bytes = shapely.to_wkb(shapely.normalize(shapely.union_all(shapes)))
    return union
