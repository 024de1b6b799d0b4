"""The report on detections: one HTML page that needs nothing else, or a PDF."""

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.image
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError, SettingError
from rasterloom.pipeline.reports.detection_pictures import (
    FOUND_COLOR,
    TRUE_COLOR,
    Scene,
    curves_picture,
    object_chips,
    plot_curves,
    worst_alarms,
    worst_misses,
)
from rasterloom.pipeline.reports.detection_scores import DetectionAccuracy, ObjectScore, Verdicts
from rasterloom.pipeline.reports.page import rendered
from rasterloom.pipeline.reports.pictures import Picture

SUFFIXES = (".html", ".pdf")
"""Endings of reports that are written."""

_ROWS = 30
"""Rows of the table on a page of a PDF."""


@dataclass(frozen=True, eq=False)
class DetectionReport:
    """Everything that a report shows."""

    title: str
    lead: str
    figures: tuple[tuple[str, str], ...]
    """The numbers that matter most: (number, what it is)."""
    accuracy: DetectionAccuracy
    notes: tuple[str, ...]
    """What limits the figures."""
    curves: Picture | None
    chips: tuple[tuple[str, str, Sequence[Picture]], ...]
    """Heading, text and pictures of single objects."""
    facts: tuple[tuple[str, str], ...]
    """What was compared."""

    @classmethod
    def of(
        cls,
        accuracy: DetectionAccuracy,
        verdicts: Verdicts,
        scene: Scene | None,
        facts: Sequence[tuple[str, str]],
    ) -> "DetectionReport":
        """Put a report together. Without a scene there are no pictures of objects."""
        overall = accuracy.overall
        lead = (
            f"{overall.detected:,} detections against {overall.truth:,} true objects: "
            f"{overall.true_positives:,} are right, {overall.false_positives:,} wrong, and "
            f"{overall.misses:,} objects were missed."
        )
        figures = (
            (_figure(overall.f1), "F1"),
            (_figure(overall.precision), "precision"),
            (_figure(overall.recall), "recall"),
            (_figure(overall.average_precision), f"mean AP at {accuracy.min_iou:g}"),
            (_figure(overall.coco), "mAP, overlaps .50:.95"),
        )
        return cls(
            "Accuracy of detected objects",
            lead,
            figures,
            accuracy,
            tuple(_notes(accuracy)),
            curves_picture(accuracy) if accuracy.curves else None,
            () if scene is None else tuple(_chips(scene, verdicts)),
            tuple(facts),
        )


def check_report(path: str) -> None:
    """Make sure that a report can have this name.

    Raises
    ------
    SettingError
        If its suffix is no format that is written.
    """
    suffix = Path(Place.of(path).name).suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingError(f"out_accuracy_report_name={path!r} cannot be written: end it in .html or .pdf.")


def write_report(report: DetectionReport, path: str) -> None:
    """Write a report, as HTML or PDF by its suffix; it appears whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    place = Place.of(path)
    if place.name.lower().endswith(".pdf"):
        data = _pdf(report)
    else:
        data = rendered("detection.html", report=report, colors=(TRUE_COLOR, FOUND_COLOR)).encode()
    try:
        place.parent.write(place.name, data)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error}.") from error


def _notes(accuracy: DetectionAccuracy) -> Iterator[str]:
    if not accuracy.ranked:
        yield (
            "The detections have no field of confidences, so they cannot be ranked: there is no average "
            "precision and no curve, and of detections that compete for an object the first one gets it."
        )
    if bare := [score.name for score in accuracy.per_class if not score.truth]:
        yield f"Not in the truth, so all wrong: {', '.join(bare)}."
    if lost := [score.name for score in accuracy.per_class if not score.detected]:
        yield f"Nothing was detected of: {', '.join(lost)}."
    found, true = accuracy.not_counted
    if found or true:
        yield (
            f"Not counted, because they do not lie completely on the assessed ground or have no area: "
            f"{found:,} detections and {true:,} true objects."
        )


def _chips(scene: Scene, verdicts: Verdicts) -> Iterator[tuple[str, str, Sequence[Picture]]]:
    rows = worst_misses(scene.truth, verdicts)
    chips = object_chips(scene, scene.truth, rows, verdicts.true_best)
    if chips:
        yield "The worst misses", "The largest true objects that no detection matches.", chips
    rows = worst_alarms(scene.detected, verdicts)
    chips = object_chips(scene, scene.detected, rows, verdicts.found_best)
    if chips:
        yield "The worst false alarms", "The most certain detections that match no true object.", chips


def _pdf(report: DetectionReport) -> bytes:
    stream = io.BytesIO()
    with PdfPages(stream, metadata={"Title": report.title, "CreationDate": None}) as pages:
        for figure in _pages(report):
            pages.savefig(figure)
    return stream.getvalue()


def _pages(report: DetectionReport) -> Iterator[Figure]:
    scores = (*report.accuracy.per_class, report.accuracy.overall)
    for start in range(0, len(scores), _ROWS):
        yield _table_page(report, scores[start : start + _ROWS], first=start == 0)
    if report.accuracy.curves:
        yield plot_curves(report.accuracy)
    for heading, text, chips in report.chips:
        yield _chips_page(heading, text, chips)


def _table_page(report: DetectionReport, scores: Sequence[ObjectScore], *, first: bool) -> Figure:
    figure = Figure(figsize=(8.27, 11.69))
    top = 0.94
    if first:
        figure.text(0.08, top, report.title, fontsize=18, weight="bold")
        facts = [f"{name}: {value}" for name, value in report.facts]
        lines = [line for text in (report.lead, *report.notes, *facts) for line in textwrap.wrap(text, 100)]
        figure.text(
            0.08, top - 0.02, "\n".join(lines), fontsize=9, va="top", linespacing=1.5, color="#5c6b7a"
        )
        top -= 0.06 + 0.0165 * len(lines)
    axes = figure.add_axes((0.08, 0.05, 0.84, top - 0.05))
    axes.set_axis_off()
    heads = ["class", "precision", "recall", "F1", "AP", ".50:.95", "right", "wrong", "missed"]
    table = axes.table(
        [_cells(score) for score in scores],
        colLabels=heads,
        colWidths=[0.24, *[0.095] * 8],
        loc="upper left",
        cellLoc="right",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8.5)
    table.scale(1, 1.5)
    return figure


def _cells(score: ObjectScore) -> list[str]:
    shares = (score.precision, score.recall, score.f1, score.average_precision, score.coco)
    counts = (score.true_positives, score.false_positives, score.misses)
    name = textwrap.shorten(score.name, 26, placeholder="..")
    return [name, *map(_figure, shares), *(f"{count:,}" for count in counts)]


def _chips_page(heading: str, text: str, chips: Sequence[Picture]) -> Figure:
    figure = Figure(figsize=(8.27, 11.69))
    figure.text(0.08, 0.95, heading, fontsize=15, weight="bold")
    figure.text(0.08, 0.93, f"{text} Green: true. Orange: detected.", fontsize=9, color="#5c6b7a")
    for number, chip in enumerate(chips):
        row, column = divmod(number, 3)
        axes = figure.add_axes((0.08 + 0.29 * column, 0.71 - 0.225 * row, 0.26, 0.19))
        axes.imshow(matplotlib.image.imread(io.BytesIO(chip.png)))
        axes.set_axis_off()
        axes.set_title("\n".join(textwrap.wrap(chip.caption, 36)), fontsize=7, y=-0.16, color="#5c6b7a")
    return figure


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
