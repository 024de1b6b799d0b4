"""Write what came of each object, and the table of figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError, SettingError
from rasterloom.pipeline.outputs.features import FeatureBlock, write_features
from rasterloom.pipeline.reports.detection_layers import Ground, ObjectLayer, flat
from rasterloom.pipeline.reports.detection_scores import DetectionAccuracy, Verdicts

TABLES = (".csv", ".parquet")
"""Endings of tables that are written."""

RIGHT, WRONG, MISSED = "true positive", "false positive", "miss"
"""What the field Result says."""

_FIELDS = {"Result": "text", "Class": "text", "Confidence": "float64", "IoU": "float64"}


def check_table(path: str) -> None:
    """Make sure that a table can have this name.

    Raises
    ------
    SettingError
        If its suffix is no format that is written.
    """
    suffix = Path(Place.of(path).name).suffix.lower()
    if suffix not in TABLES:
        raise SettingError(f"out_accuracy_table_name={path!r} cannot be written: end it in .csv or .parquet.")


def write_table(accuracy: DetectionAccuracy, path: str) -> None:
    """Write the figures of each class, and of all in the last row.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    frame, place = accuracy.to_frame(), Place.of(path)
    csv = place.name.lower().endswith(".csv")
    data = frame.to_csv(index=False).encode() if csv else frame.to_parquet(index=False)
    try:
        place.parent.write(place.name, data)
    except OSError as error:
        raise OutputError(f"{path} could not be written: {error}.") from error


def write_judged(
    path: str,
    layers: tuple[ObjectLayer, ObjectLayer],
    ground: Ground,
    verdicts: Verdicts,
    names: Sequence[str],
    *,
    overwrite: bool,
) -> int:
    """Write every object that counts, with what came of it, in the CRS of the detections.

    Fields: ``Result`` ("true positive", "false positive" or "miss"), ``Class``, ``Confidence`` as the
    detections have it (none for a miss), ``IoU`` the largest overlap with a true object of the class, for a
    miss with a detection.

    Returns
    -------
    int
        Features written.
    """
    sides = np.concatenate([layer.boxes for layer in layers])
    sides = sides[~np.isnan(sides).any(axis=1)]
    bounds = None
    if len(sides):
        low, high = sides[:, :2].min(axis=0), sides[:, 2:].max(axis=0)
        bounds = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    blocks = _judged(layers, ground, verdicts, np.array(["", *names], object))
    return write_features(path, blocks, fields=_FIELDS, crs=ground.crs, bounds=bounds, overwrite=overwrite)


def _judged(
    layers: tuple[ObjectLayer, ObjectLayer], ground: Ground, verdicts: Verdicts, names: np.ndarray
) -> Iterator[FeatureBlock]:
    detected, truth = layers
    for rows, geometries in _kept(detected, ground, verdicts.counted):
        results = np.where(verdicts.given[rows] >= 0, RIGHT, WRONG).astype(object)
        scores = np.full(len(rows), None) if detected.scores is None else detected.scores[rows]
        yield _block(geometries, results, names[detected.labels[rows]], scores, verdicts.found_best[rows])
    for rows, geometries in _kept(truth, ground, verdicts.missed):
        results, scores = np.full(len(rows), MISSED, object), np.full(len(rows), None)
        yield _block(geometries, results, names[truth.labels[rows]], scores, verdicts.true_best[rows])


def _block(
    geometries: np.ndarray, results: np.ndarray, classes: np.ndarray, scores: np.ndarray, ious: np.ndarray
) -> FeatureBlock:
    columns = {"Result": results, "Class": classes, "Confidence": scores, "IoU": ious}
    return FeatureBlock(geometries, columns)


def _kept(layer: ObjectLayer, ground: Ground, which: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and geometries of some objects, read again."""
    start = 0
    for block in layer.source.blocks([]):
        rows = start + np.flatnonzero(which[start : start + len(block)])
        if len(rows):
            geometries = flat(block.geometry[rows - start])
            yield rows, ground.brought(layer.source, geometries)
        start += len(block)
