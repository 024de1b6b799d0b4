"""Agreement of found objects with true ones: matched box by box, summed up as average precision."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.models.errors import SettingError

MOST_FOUND = 100
"""Objects of one class that count in a chip; the least certain ones beyond are left out (COCO's number)."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where precision is read off (COCO's 101 points)."""


@dataclass(frozen=True, eq=False)
class Matches:
    """Every found object, whether it was right, and how many there were to find.

    A class that is not in the truth has no figures: they are nan, and means leave it out.
    """

    labels: np.ndarray
    """(n,) int64, the class of each found object, from 1; of each chip in falling score."""
    scores: np.ndarray
    """(n,) float64"""
    right: np.ndarray
    """(n,) of bool: whether it is the best match of a true object that nothing more certain was given."""
    truths: np.ndarray
    """(K,) int64, true objects of class 1, 2, .., K."""

    @classmethod
    def empty(cls, classes: int) -> "Matches":
        """Nothing looked at yet."""
        none = np.zeros(0)
        return cls(none.astype(np.int64), none, none.astype(bool), np.zeros(classes, np.int64))

    @classmethod
    def of(
        cls,
        truth: Mapping[str, Any],
        found: Mapping[str, Any],
        *,
        classes: int,
        iou: float = 0.5,
        masks: bool = False,
    ) -> "Matches":
        """Match the objects of one chip.

        Each found object, from the most certain to the least, takes the true object of its class that it
        overlaps most and that is not taken yet.

        Parameters
        ----------
        truth
            ``boxes`` (k, 4) xyxy and ``labels`` (k,) from 1.
        found
            The same with ``scores`` (n,).
        classes
            How many there are.
        iou
            Least intersection over union of a match, above 0 and at most 1.
        masks
            Whether outlines are compared, ``masks`` (k, H, W) and (n, H, W), instead of boxes.

        Raises
        ------
        SettingError
            If ``iou`` cannot work or a label is no class.
        """
        if not 0 < iou <= 1:
            raise SettingError(f"iou={iou!r} cannot work: use a number above 0 and at most 1.")
        true_boxes, true_labels = _boxes(truth), _labels(truth, classes)
        boxes, labels = _boxes(found), _labels(found, classes)
        scores = np.asarray(found["scores"], np.float64).reshape(-1)
        parts = [cls.empty(classes)]
        for label in np.unique(labels).tolist():
            mine = np.flatnonzero(labels == label)
            mine = mine[np.argsort(-scores[mine], kind="stable")][:MOST_FOUND]
            his = true_labels == label
            if masks:
                shares = mask_overlaps(found["masks"][mine], truth["masks"][his])
            else:
                shares = overlaps(boxes[mine], true_boxes[his])
            right = _matched(shares, least=iou)
            parts.append(cls(labels[mine], scores[mine], right, np.zeros(classes, np.int64)))
        truths = np.bincount(true_labels - 1, minlength=classes).astype(np.int64)
        parts.append(cls(parts[0].labels, parts[0].scores, parts[0].right, truths))
        return cls.merged(parts)

    @classmethod
    def merged(cls, parts: Iterable["Matches"]) -> "Matches":
        """All of one or more; of equally certain objects the earlier part's count first."""
        parts = list(parts)
        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.right for part in parts]),
            np.stack([part.truths for part in parts]).sum(axis=0),
        )

    def average_precision(self) -> np.ndarray:
        """(K,) precision, averaged over recall, of class 1, 2, .., K; nan where there is nothing to find.

        References
        ----------
        The COCO evaluation: precision made falling, read off at 101 recalls.
        """
        return np.array([self.curve(number).mean() for number in range(1, len(self.truths) + 1)], np.float64)

    def mean_average_precision(self) -> float:
        """The mean over the classes that are in the truth; nan where none is."""
        figures = self.average_precision()
        known = figures[~np.isnan(figures)]
        return float(known.mean()) if known.size else math.nan

    def curve(self, label: int) -> np.ndarray:
        """(101,) precision of a class, made falling, where recall is 0, 0.01, .., 1; nan without truth."""
        truths = int(self.truths[label - 1])
        if truths == 0:
            return np.full(len(RECALLS), math.nan)
        mine = self.labels == label
        right = self.right[mine][np.argsort(-self.scores[mine], kind="stable")]
        hits = np.cumsum(right)
        recall, precision = hits / truths, hits / np.arange(1, len(hits) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, RECALLS, side="left")
        figures: np.ndarray = np.append(falling, 0.0)[np.minimum(places, len(falling))]
        return figures


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box (n, 4) xyxy with each other (m, 4): (n, m), 0..1."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    union = _areas(boxes)[:, None] + _areas(others)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared, np.float64), where=union > 0)


def mask_overlaps(masks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each outline (n, H, W) with each other (m, H, W): (n, m), 0..1."""
    first, second = (
        np.asarray(each).reshape(len(each), math.prod(each.shape[1:])) > 0 for each in (masks, others)
    )
    # counts of pixels are exact in float32 up to 2**24, chips of 4096 pixels
    shared = (first.astype(np.float32) @ second.astype(np.float32).T).astype(np.float64)
    union = first.sum(axis=1)[:, None] + second.sum(axis=1)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared, np.float64), where=union > 0)


def _matched(shares: np.ndarray, *, least: float) -> np.ndarray:
    """(n,) whether each row takes a column that is free, in the order of the rows."""
    free, right = np.ones(shares.shape[1], bool), np.zeros(len(shares), bool)
    if not free.size:
        return right
    for row, share in enumerate(shares):
        open_shares = np.where(free, share, -1.0)
        # of equal ones the last, as pycocotools takes it
        best = len(share) - 1 - int(np.argmax(open_shares[::-1]))
        # pycocotools allows for rounding at a threshold of 1
        if open_shares[best] >= min(least, 1 - 1e-10):
            free[best], right[row] = False, True
    return right


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _boxes(objects: Mapping[str, Any]) -> np.ndarray:
    return np.asarray(objects["boxes"], np.float64).reshape(-1, 4)


def _labels(objects: Mapping[str, Any], classes: int) -> np.ndarray:
    labels: np.ndarray = np.asarray(objects["labels"], np.int64).reshape(-1)
    if labels.size and not (labels.min() >= 1 and labels.max() <= classes):
        wrong: Sequence[int] = sorted({*labels.tolist()} - set(range(1, classes + 1)))
        raise SettingError(f"the labels {wrong} are no classes: labels go from 1 to {classes}.")
    return labels
