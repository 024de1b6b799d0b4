"""Match found objects with true ones over a whole layer, however many there are."""

from dataclasses import dataclass

import numpy as np
import shapely

BLOCK = 65_536
"""True objects that are looked up at once."""

COCO_IOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Overlaps over which COCO averages."""

_ROUNDING = 1e-10
"""What pycocotools allows below an overlap of 1."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Found and true objects of one class that overlap."""

    found: np.ndarray
    """(m,) int64, position among the found objects."""
    true: np.ndarray
    """(m,) int64, position among the true objects."""
    iou: np.ndarray
    """(m,) float64, intersection over union, above 0."""

    @classmethod
    def of_boxes(
        cls,
        found: np.ndarray,
        true: np.ndarray,
        *,
        found_labels: np.ndarray,
        true_labels: np.ndarray,
        shapes: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> "Pairs":
        """Every pair of overlapping objects of one class.

        Parameters
        ----------
        found, true
            Boxes (n, 4) and (k, 4): x1, y1, x2, y2. One with nan overlaps nothing.
        found_labels, true_labels
            (n,) and (k,) class of each.
        shapes
            WKB of each found and each true object, to compare outlines. None compares boxes.
        """
        parts = [cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
        for label in np.intersect1d(found_labels, true_labels):
            ours = np.flatnonzero(found_labels == label)
            theirs = np.flatnonzero((true_labels == label) & ~np.isnan(true[:, 0]))
            # neighbours in a block: its box is then small, and few found objects meet it
            theirs = theirs[np.argsort(true[theirs, 0], kind="stable")]
            for start in range(0, len(theirs), BLOCK):
                rows = theirs[start : start + BLOCK]
                parts.append(_overlapping(found, true, ours, rows, shapes))
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("found", "true", "iou")))


def match(pairs: Pairs, ranks: np.ndarray, ignored: np.ndarray, *, iou: float) -> np.ndarray:
    """(n,) int64: the true object that each found one is given, -1 for none.

    Each found object, from the first rank on, takes the true object that it overlaps most, by ``iou`` or
    more, and that is not taken. One that is not ignored comes before one that is.

    Parameters
    ----------
    ranks
        (n,) int64, a different one for each found object.
    ignored
        (k,) of bool, true objects that need not be found.
    iou
        Above 0, at most 1.

    References
    ----------
    ``COCOeval.evaluateImg`` of pycocotools, with all objects in one image.
    """
    close = np.flatnonzero(pairs.iou >= min(iou, 1 - _ROUNDING))
    found, true = pairs.found[close], pairs.true[close]
    # of equal ones the last, as pycocotools takes it
    order = np.lexsort((-true, -pairs.iou[close], ignored[true], ranks[found]))
    found, true = found[order], true[order]
    given = np.full(len(ranks), -1, np.int64)
    alone = (_counts(found, len(ranks)) == 1) & (_counts(true, len(ignored)) == 1)
    given[found[alone]] = true[alone]
    taken: set[int] = set()
    for mine, other in zip(found[~alone].tolist(), true[~alone].tolist(), strict=True):
        if given[mine] < 0 and other not in taken:
            given[mine] = other
            taken.add(other)
    return given


def best_overlaps(pairs: Pairs, found: int, true: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest overlap of each of ``found`` found and ``true`` true objects, 0 where there is none."""
    mine, theirs = np.zeros(found), np.zeros(true)
    np.maximum.at(mine, pairs.found, pairs.iou)
    np.maximum.at(theirs, pairs.true, pairs.iou)
    return mine, theirs


def _counts(positions: np.ndarray, length: int) -> np.ndarray:
    """(m,) how often each position occurs."""
    return np.bincount(positions, minlength=length)[positions]


def _overlapping(
    found: np.ndarray,
    true: np.ndarray,
    ours: np.ndarray,
    theirs: np.ndarray,
    shapes: tuple[np.ndarray, np.ndarray] | None,
) -> Pairs:
    low, high = np.nanmin(true[theirs, :2], axis=0), np.nanmax(true[theirs, 2:], axis=0)
    near = (found[ours, :2] <= high).all(axis=1) & (found[ours, 2:] >= low).all(axis=1)
    ours = ours[near]
    tree = shapely.STRtree(shapely.box(*true[theirs].T))
    left, right = tree.query(shapely.box(*found[ours].T))
    ours, theirs = ours[left], theirs[right]
    if shapes is None:
        iou = box_iou(found[ours], true[theirs])
    else:
        iou = _outline_iou(shapes[0][ours], shapes[1][theirs])
    some = iou > 0
    return Pairs(ours[some], theirs[some], iou[some])


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(m,) intersection over union of boxes (m, 4) with as many others, row by row."""
    shared = (np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])).clip(0)
    area = shared.prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (others[:, 2:] - others[:, :2]).prod(axis=1) - area
    return np.divide(area, union, out=np.zeros_like(area, np.float64), where=union > 0)


def _outline_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    shares = np.zeros(len(first))
    for start in range(0, len(first), BLOCK):
        part = slice(start, start + BLOCK)
        one, other = (_valid(shapely.from_wkb(wkb[part])) for wkb in (first, second))
        area = shapely.area(shapely.intersection(one, other))
        union = shapely.area(one) + shapely.area(other) - area
        shares[part] = np.divide(area, union, out=np.zeros_like(area, np.float64), where=union > 0)
    return shares


def _valid(geometries: np.ndarray) -> np.ndarray:
    wrong = ~shapely.is_valid(geometries)
    geometries[wrong] = shapely.make_valid(geometries[wrong])
    return geometries
