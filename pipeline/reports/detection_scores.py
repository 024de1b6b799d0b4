"""How well objects were found: the figures of each class and of all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas

from rasterloom.pipeline.metrics.detection import COCO_IOUS, Pairs, best_overlaps, match
from rasterloom.pipeline.metrics.objects import Matches
from rasterloom.pipeline.reports.detection_layers import ObjectLayer

ALL_CLASSES = "All classes"


@dataclass(frozen=True)
class ObjectScore:
    """How well the objects of a class were found. Figures are nan where there is nothing to divide by."""

    name: str
    true_positives: int
    """Detections that match a true object."""
    false_positives: int
    """Detections that do not."""
    misses: int
    """True objects that no detection matches."""
    average_precision: float
    """Precision averaged over recall, 0..1; nan without confidences or without true objects."""
    coco: float
    """The same, averaged over the overlaps 0.5, 0.55, .., 0.95."""

    @property
    def detected(self) -> int:
        return self.true_positives + self.false_positives

    @property
    def truth(self) -> int:
        return self.true_positives + self.misses

    @property
    def precision(self) -> float:
        """Share of the detections that are right, 0..1."""
        return _share(self.true_positives, self.detected)

    @property
    def recall(self) -> float:
        """Share of the true objects that were found, 0..1."""
        return _share(self.true_positives, self.truth)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1."""
        return _share(2 * self.true_positives, self.detected + self.truth)

    def row(self) -> dict[str, Any]:
        """The score as a row of the table."""
        return {
            "Class": self.name,
            "Precision": self.precision,
            "Recall": self.recall,
            "F1": self.f1,
            "AP": self.average_precision,
            "mAP_50_95": self.coco,
            "True_Positive": self.true_positives,
            "False_Positive": self.false_positives,
            "False_Negative": self.misses,
        }


@dataclass(frozen=True, eq=False)
class DetectionAccuracy:
    """Detections judged against ground truth."""

    min_iou: float
    """Least overlap of a match."""
    ranked: bool
    """Whether detections had confidences; without them there is no average precision."""
    per_class: tuple[ObjectScore, ...]
    """Classes of the truth first, then those that were only detected."""
    overall: ObjectScore
    """Counts of all objects; average precisions are means over the classes of the truth."""
    curves: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of each class of the truth, precision at recall 0, 0.01, .., 1."""
    not_counted: tuple[int, int] = (0, 0)
    """Detections and true objects that lie outside of the assessed ground, or have no area."""
    table: str | None = None
    """Where the table was written."""
    report: str | None = None
    """Where the report was written."""
    features: str | None = None
    """Where the judged objects were written."""

    @property
    def precision(self) -> float:
        return self.overall.precision

    @property
    def recall(self) -> float:
        return self.overall.recall

    @property
    def f1(self) -> float:
        return self.overall.f1

    @property
    def average_precision(self) -> float:
        """Mean over the classes, at ``min_iou``."""
        return self.overall.average_precision

    @property
    def coco(self) -> float:
        """COCO's mAP@[.5:.95]."""
        return self.overall.coco

    def to_frame(self) -> Any:
        """A pandas frame: a row for each class, then one for all."""
        frame = pandas.DataFrame([score.row() for score in (*self.per_class, self.overall)])
        return frame.assign(Min_IoU=self.min_iou)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary; figures that are nan become null."""
        rows = [score.row() for score in (*self.per_class, self.overall)]
        plain = [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows
        ]
        return {"min_iou": self.min_iou, "per_class": plain[:-1], "overall": plain[-1]}


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What became of each object."""

    given: np.ndarray
    """(n,) int64, the true object that each detection matches, -1 for none."""
    counted: np.ndarray
    """(n,) of bool, detections that are right or wrong."""
    missed: np.ndarray
    """(k,) of bool, true objects that count and were not found."""
    found_best: np.ndarray
    """(n,) the largest overlap of each detection with a true object of its class."""
    true_best: np.ndarray
    """(k,) the same of each true object."""


def judge(
    detected: ObjectLayer, truth: ObjectLayer, names: Sequence[str], *, min_iou: float
) -> tuple[DetectionAccuracy, Verdicts]:
    """Match two layers and count.

    Objects that do not lie completely inside of the assessed ground are neither right nor wrong: a true one
    need not be found, and a detection of one, or one that matches nothing, does not count.

    References
    ----------
    pycocotools, ``COCOeval``, with the whole layer as one image, objects outside as out of the area range.
    """
    shapes = None if detected.shapes is None or truth.shapes is None else (detected.shapes, truth.shapes)
    pairs = Pairs.of_boxes(
        detected.boxes,
        truth.boxes,
        found_labels=detected.labels,
        true_labels=truth.labels,
        shapes=shapes,
    )
    scores = np.zeros(len(detected)) if detected.scores is None else detected.scores
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    at: dict[float, tuple[np.ndarray, np.ndarray]] = {}
    for iou in {min_iou, *COCO_IOUS} if detected.scores is not None else {min_iou}:
        given = match(pairs, ranks, ~truth.inside, iou=iou)
        at[iou] = given, np.where(given >= 0, np.append(truth.inside, True)[given], detected.inside)
    truths = np.bincount(truth.labels[truth.inside], minlength=len(names) + 1)[1:].astype(np.int64)
    matches = {
        iou: Matches(detected.labels[counted], scores[counted], given[counted] >= 0, truths)
        for iou, (given, counted) in at.items()
    }
    given, counted = at[min_iou]
    hit = np.zeros(len(truth), bool)
    hit[given[given >= 0]] = True
    verdicts = Verdicts(given, counted, truth.inside & ~hit, *best_overlaps(pairs, len(detected), len(truth)))
    accuracy = _accuracy(matches, names, min_iou, ranked=detected.scores is not None)
    outside = int((~counted).sum()), int((~truth.inside).sum())
    return replace(accuracy, not_counted=outside), verdicts


def _accuracy(
    matches: Mapping[float, Matches], names: Sequence[str], min_iou: float, *, ranked: bool
) -> DetectionAccuracy:
    chosen = matches[min_iou]
    nothing = np.full(len(names), math.nan)
    precisions = chosen.average_precision() if ranked else nothing
    coco = np.mean([matches[iou].average_precision() for iou in COCO_IOUS], axis=0) if ranked else nothing
    size = len(names) + 1
    detections = np.bincount(chosen.labels, minlength=size)[1:]
    right = np.bincount(chosen.labels[chosen.right], minlength=size)[1:]
    scores = [
        ObjectScore(
            name,
            int(right[at]),
            int(detections[at] - right[at]),
            int(chosen.truths[at] - right[at]),
            float(precisions[at]),
            float(coco[at]),
        )
        for at, name in enumerate(names)
    ]
    seen = [at for at, score in enumerate(scores) if score.detected or score.truth]
    order = sorted(seen, key=lambda at: (scores[at].truth == 0, scores[at].name))
    overall = ObjectScore(
        ALL_CLASSES,
        sum(score.true_positives for score in scores),
        sum(score.false_positives for score in scores),
        sum(score.misses for score in scores),
        _mean(precisions),
        _mean(coco),
    )
    curves = {scores[at].name: chosen.curve(at + 1) for at in order if scores[at].truth and ranked}
    return DetectionAccuracy(min_iou, ranked, tuple(scores[at] for at in order), overall, curves)


def _mean(figures: np.ndarray) -> float:
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if known.size else math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
