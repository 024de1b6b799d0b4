"""How well detected objects agree with ground truth."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import shapely

from rasterloom.cluster.jobs import Progress
from rasterloom.cluster.places import Place
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.labels.layers import is_parquet, layer_info
from rasterloom.pipeline.outputs.cog import check_free
from rasterloom.pipeline.outputs.features import check_output
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.context import extent_bounds, parse_context
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.reports.detection_layers import (
    ClassKeys,
    Fields,
    Ground,
    check_classes,
    read_objects,
)
from rasterloom.pipeline.reports.detection_outputs import check_table, write_judged, write_table
from rasterloom.pipeline.reports.detection_scores import DetectionAccuracy, judge

MIN_IOU = 0.5
"""Overlap of a match where the caller does not say."""

_CONTEXT = frozenset({"extent", "cellSize", "parallelProcessingFactor", "processorType"})
_OVERLAPS = ("boxes", "outlines")
_OPTIONS = (
    "client",
    "overwrite",
    "raster",
    "confidence_score_field",
    "out_features_name",
    "overlap",
)

_SECONDS_PER_OBJECT = 1.2e-5
"""Measured: a million of each in twelve seconds, reading and writing included."""
_BYTES_PER_OBJECT = 500
_BASE_BYTES = 400_000_000


@dataclass(frozen=True)
class AccuracyEstimate:
    """The price of an assessment, before it is run."""

    detections: int
    """Features of the detections."""
    truth: int
    """Features of the ground truth."""
    seconds: float
    """Expected time."""
    peak_memory: int
    """Bytes that the process needs at most, outlines of large polygons aside."""


@dataclass(frozen=True)
class _Outputs:
    """Where results go; None where nobody wants them."""

    table: str | None
    report: str | None
    features: str | None
    overwrite: bool


def compute_accuracy_for_object_detection(
    detected_features: Any,
    ground_truth_features: Any,
    detected_class_value_field: str | None = None,
    ground_truth_class_value_field: str | None = None,
    min_iou: float | None = None,
    mask_features: Any = None,
    out_accuracy_table_name: str | Mapping[str, str] | None = None,
    out_accuracy_report_name: str | Mapping[str, str] | None = None,
    context: Mapping[str, Any] | None = None,
    *,
    gis: None = None,
    future: bool = False,
    estimate: bool = False,
    **kwargs: Any,
) -> Any:
    """Judge detected objects by ground truth: figures of each class, a table, a report, and the objects.

    From the most certain detection to the least, each is given the true object of its class that it overlaps
    most, by ``min_iou`` or more, and that no other was given: this is how COCO counts, with all of the
    ground as one image. Figures agree with pycocotools.

    Parameters
    ----------
    detected_features
        Path or URL of a vector layer, such as ``detect_objects`` writes, or a GeoDataFrame.
    ground_truth_features
        The same with true objects, in any CRS.
    detected_class_value_field, ground_truth_class_value_field
        Fields of class values or names, which must be the same in both. None takes ClassValue or Value where
        both layers have one, else Class or ClassName; where there is none, all objects are of one class.
    min_iou
        Least intersection over union of a match, above 0 and at most 1. None means 0.5.
    mask_features
        Polygons of the ground to assess. An object that does not lie completely within them is neither
        right nor wrong: a true one need not be found, and a detection that matches such a one, or matches
        nothing and is itself not within, does not count.
    out_accuracy_table_name
        Path or URL of a table, .csv or .parquet; without a suffix .csv. None writes
        "<detections>_accuracy.csv" beside the detections, and nothing where they are no file.
    out_accuracy_report_name
        Path or URL of a report, .html (one file, with curves, and with pictures where ``raster`` is given)
        or .pdf; without a suffix .html. ``{"uri": path}`` is the same. None writes none.
    context
        ``extent``: (west, south, east, north) in the detections' CRS, or a dictionary as for
        :func:`rasterloom.pipeline.classify_pixels`; it limits the ground as ``mask_features`` does. cellSize,
        parallelProcessingFactor and processorType are taken and change nothing.
    gis
        Only None.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    estimate
        Read nothing but the sizes, and return an :class:`AccuracyEstimate`.
    **kwargs
        ``raster``: what the objects were detected on, for pictures of the worst misses and false alarms in
        the report. ``confidence_score_field``: None takes Confidence or Score; without one there is no
        average precision. ``out_features_name``: vector file of true positives, false positives and misses;
        None writes "<table>_objects.parquet" beside the table. ``overlap``: "boxes" (bounding boxes, the
        default) or "outlines" (the polygons themselves). ``overwrite``: replace files that are there.
        ``client``: taken like everywhere; the work is done in this process.

    Returns
    -------
    DetectionAccuracy
        With the names of what was written.

    Raises
    ------
    MissingInputError, CrsError, LabelError
        If a layer cannot be used, or no class is in both.
    OutputExistsError, OutputError
        If something stands under a name, or cannot be written.
    SettingError
        If an argument cannot work.

    Warns
    -----
    UserWarning
        Of classes that are in one layer only.

    References
    ----------
    ``arcgis.learn.compute_accuracy_for_object_detection``; pycocotools.
    """
    options = _options(gis, kwargs)
    iou = _checked_iou(min_iou)
    given = parse_context(context, allowed=_CONTEXT)
    detected, truth = FeatureSource.of(detected_features), FeatureSource.of(ground_truth_features)
    if estimate:
        return _estimate(detected, truth)
    names = out_accuracy_table_name, out_accuracy_report_name
    outputs = _outputs(detected_features, names, options)
    fields = Fields.of(
        detected,
        truth,
        detected_field=detected_class_value_field,
        truth_field=ground_truth_class_value_field,
        score_field=options["confidence_score_field"],
    )
    work = _Work(detected, truth, fields, iou, mask_features, given.get("extent"), outputs, options)
    if future:
        from rasterloom.cluster.background import Job

        return Job(lambda report: _assess(work, report))
    return _assess(work, lambda progress: None)


@dataclass(frozen=True, eq=False)
class _Work:
    detected: FeatureSource
    truth: FeatureSource
    fields: Fields
    min_iou: float
    masks: Any
    extent: Any
    outputs: _Outputs
    options: Mapping[str, Any]


def _assess(work: _Work, report: Any) -> DetectionAccuracy:
    """Read, match, and write; ``report`` is told after each of the five steps."""
    steps, started = iter(range(1, 6)), time.perf_counter()

    def step() -> None:
        report(Progress(next(steps), 5, 0, 0, time.perf_counter() - started))

    fields, outputs, keys = work.fields, work.outputs, ClassKeys()
    outlines = work.options["overlap"] == "outlines"
    raster = None if work.options["raster"] is None else describe(work.options["raster"])
    ground = Ground.of(work.detected, work.masks, _extent(work.extent, work.detected))
    detected = read_objects(
        work.detected,
        ground,
        keys,
        field=fields.detected,
        name=fields.name,
        score=fields.score,
        outlines=outlines,
    )
    step()
    truth = read_objects(work.truth, ground, keys, field=fields.truth, outlines=outlines)
    check_classes(detected, truth, keys.keys, fields)
    step()
    names = keys.names()
    accuracy, verdicts = judge(detected, truth, names, min_iou=work.min_iou)
    accuracy = replace(accuracy, table=outputs.table, report=outputs.report, features=outputs.features)
    step()
    if outputs.features is not None:
        layers = detected, truth
        write_judged(outputs.features, layers, ground, verdicts, names, overwrite=outputs.overwrite)
    step()
    if outputs.report is not None:
        # matplotlib takes a second to load
        from rasterloom.pipeline.reports.detection_pictures import Scene
        from rasterloom.pipeline.reports.detection_report import DetectionReport, write_report

        scene = None if raster is None else Scene(raster, ground.crs, detected, truth, names)
        write_report(DetectionReport.of(accuracy, verdicts, scene, _facts(work)), outputs.report)
    if outputs.table is not None:  # the last: where it stands, all the others do
        write_table(accuracy, outputs.table)
    step()
    return accuracy


def _options(gis: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if gis is not None:
        raise SettingError("gis takes only None: the work is done in this process.")
    unknown = [name for name in kwargs if name not in _OPTIONS]
    if unknown:
        raise SettingError(
            f"compute_accuracy_for_object_detection has no argument {unknown[0]!r}: further ones are "
            f"{', '.join(_OPTIONS)}."
        )
    options = dict.fromkeys(_OPTIONS) | {"overwrite": False, "overlap": "boxes"} | dict(kwargs)
    if options["overlap"] not in _OVERLAPS:
        raise SettingError(f"overlap={options['overlap']!r} is unknown: use 'boxes' or 'outlines'.")
    return options


def _checked_iou(min_iou: Any) -> float:
    if min_iou is None:
        return MIN_IOU
    try:
        iou = float(min_iou)
    except (TypeError, ValueError):
        iou = math.nan
    if not 0 < iou <= 1:
        raise SettingError(f"min_iou={min_iou!r} cannot work: use a number above 0 and at most 1.")
    return iou


def _outputs(detected: Any, given: tuple[Any, Any], options: Mapping[str, Any]) -> _Outputs:
    """The names of what is written, all of which are free."""
    table, report = (
        _suffixed(_uri(name), ending) for name, ending in zip(given, (".csv", ".html"), strict=True)
    )
    if table is None and isinstance(detected, str | Path):
        table = f"{_trunk(str(detected))}_accuracy.csv"
    features = options["out_features_name"]
    if features is None and table is not None:
        features = f"{_trunk(table)}_objects.parquet"
    overwrite = bool(options["overwrite"])
    if table is not None:
        check_table(table)
        check_free(table, overwrite=overwrite, suffix=".csv")
    if report is not None:
        from rasterloom.pipeline.reports.detection_report import check_report

        check_report(report)
        check_free(report, overwrite=overwrite, suffix=".html")
    if features is not None:
        features = str(features)
        check_output(features, overwrite=overwrite)
    return _Outputs(table, report, features, overwrite)


def _uri(name: Any) -> str | None:
    if isinstance(name, Mapping):
        if set(name) != {"uri"}:
            raise SettingError(f'{dict(name)} names no output: give a path, or {{"uri": path}}.')
        name = name["uri"]
    return None if name is None else str(name)


def _suffixed(name: str | None, ending: str) -> str | None:
    if name is None or Path(Place.of(name).name).suffix:
        return name
    return name + ending


def _trunk(name: str) -> str:
    return name.removesuffix(Path(Place.of(name).name).suffix)


def _extent(extent: Any, detected: FeatureSource) -> Any:
    """The extent as a shapely box in the detections' CRS; None where there is none."""
    return None if extent is None else shapely.box(*extent_bounds(extent, detected.crs or ""))


def _facts(work: _Work) -> list[tuple[str, str]]:
    """What was compared, in words."""
    fields = work.fields
    facts = [
        ("detections", work.detected.name),
        ("ground truth", work.truth.name),
        ("class fields", f"{fields.detected} and {fields.truth}" if fields.detected else "none: one class"),
        ("confidence", fields.score or "none"),
        ("overlap", f"of {'bounding boxes' if work.options['overlap'] == 'boxes' else 'outlines'}"),
    ]
    if work.masks is not None:
        facts.append(("ground", f"inside of {FeatureSource.of(work.masks).name}"))
    if work.extent is not None:
        facts.append(("extent", str(work.extent)))
    return facts


def _estimate(detected: FeatureSource, truth: FeatureSource) -> AccuracyEstimate:
    counts = _count(detected), _count(truth)
    return AccuracyEstimate(
        *counts,
        seconds=1.0 + _SECONDS_PER_OBJECT * max(counts),
        peak_memory=_BASE_BYTES + _BYTES_PER_OBJECT * sum(counts),
    )


def _count(source: FeatureSource) -> int:
    if not isinstance(source.source, str):
        return len(source.source)
    if is_parquet(Path(source.source)):
        return int(pyarrow.parquet.read_metadata(source.source).num_rows)
    told = int(layer_info(Path(source.source))["features"])
    return told if told >= 0 else int(np.sum([len(block) for block in source.blocks([])]))
