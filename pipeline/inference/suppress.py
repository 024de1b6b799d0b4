"""Non maximum suppression of a whole vector layer, of any size."""

import math
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow

from rasterloom.cluster.places import Place
from rasterloom.cluster.progress import progress_bar
from rasterloom.cluster.scratch import scratch_folder
from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.inference.calls import refuse_foreign
from rasterloom.pipeline.outputs.features import OID, FeatureBlock, check_output, write_features
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.seams.apart import suppress_apart
from rasterloom.pipeline.seams.spool import Spool

CLASS_FIELDS = ("classvalue", "value")
"""Fields that hold the class where none is named, in whatever case, the first that is there."""

_RESULT = "_nms.parquet"
"""What is added to a layer's name for the name of its result."""

_NAMED = 5
"""Most rows that a message lists."""


def non_maximum_suppression(
    features: Any,
    confidence_score_field: str,
    output_name: str | Path | None = None,
    class_value_field: str | None = None,
    max_overlap_ratio: float = 0,
    *,
    across_classes: bool = False,
    gis: None = None,
    client: Any = None,
    overwrite: bool = False,
    progress: bool = True,
    **kwargs: Any,
) -> str:
    """Of features that overlap too much, keep the one with the highest score, and write all that are kept.

    A feature is dropped if it overlaps one of its class that is kept and that has a higher score, or the same
    score and comes first. This holds for the layer as a whole, exactly, and memory does not grow with it. How
    much features overlap is told from their shapes, not from boxes around them, and from their coordinates as
    they are: in degrees as in metres.

    Parameters
    ----------
    features
        Path or URL of a vector layer, or a GeoDataFrame.
    confidence_score_field
        Field that holds the scores.
    output_name
        Path or URL of the layer to write, in the format of its suffix. None writes ``NAME_nms.parquet``
        beside the input. It has all fields of the input; the features are numbered anew in ``OID``.
    class_value_field
        Field that holds the class, of numbers or text. None takes ``ClassValue`` or ``Value`` where there is
        one, and else takes all features for one class.
    max_overlap_ratio
        Shared area over common area, 0..1, above which the lower score is dropped.
    across_classes
        Whether features of different classes suppress each other, too.
    gis
        Must be None; ``client`` says where the work is done.
    client
        A Dask client. None works in this process, with the same result.
    overwrite
        Replace what stands under ``output_name``.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the layer.

    Raises
    ------
    SettingError
        If an argument cannot work.
    LabelError
        If features have no score.
    MissingInputError, OutputExistsError, OutputError, RunInterrupted
        As they say.

    References
    ----------
    "Non Maximum Suppression" in ``arcgis.learn.detect_objects``: run_nms, confidence_score_field,
    class_value_field, max_overlap_ratio.
    """
    refuse_foreign("non_maximum_suppression", gis, kwargs)
    threshold = _ratio(max_overlap_ratio)
    output = _output(features, output_name)
    source = FeatureSource.of(features)
    _check_scores(source, confidence_score_field)
    label_field = _class_field(source, class_value_field, across_classes=across_classes)
    check_output(output, overwrite=overwrite)
    fields = {name: kind for name, kind in source.fields.items() if name != OID}
    with _bench(output) as (folder, shared), progress_bar(f"suppress {source.name}", show=progress) as bar:
        spool = Spool.write(folder / "spool", _ranked(source, confidence_score_field, label_field))
        kept = suppress_apart(spool, threshold, folder, client=client if shared else None, on_progress=bar)
        write_features(
            output,
            _taken(source, kept, list(fields)),
            fields=fields,
            crs=source.crs,
            geometry="Polygon",
            bounds=_bounds(spool),
            overwrite=overwrite,
        )
    return output


def _ratio(value: float) -> float:
    try:
        ratio = float(value)
    except (TypeError, ValueError):
        ratio = math.nan
    if not 0 <= ratio <= 1:
        raise SettingError(f"max_overlap_ratio={value!r} is no share of an area: use 0 to 1.")
    return ratio


def _output(features: Any, output: str | Path | None) -> str:
    """The output's name, which is not that of what is read."""
    path = features if isinstance(features, str | Path) else None
    place = None if path is None else Place.of(path)
    if output is None:
        if place is None or not place.is_local:
            raise SettingError(
                "output_name is missing: nothing can stand beside this input. Say what to write: "
                "output_name='kept.parquet'."
            )
        return str(place.path.with_name(place.path.stem + _RESULT))
    if place is not None and _resolved(place) == _resolved(Place.of(output)):
        raise SettingError(f"{output} is read by this call: choose another output_name.")
    return str(output)


def _resolved(place: Place) -> str:
    return str(place.path.resolve()) if place.is_local else place.url


def _check_scores(source: FeatureSource, field: str) -> None:
    if field not in source.fields:
        raise SettingError(
            f"confidence_score_field={field!r} is no field of {source.name}: it has {list(source.fields)}."
        )
    kind = source.fields[field]
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        raise SettingError(
            f"confidence_score_field={field!r} of {source.name} is of type {kind}, and scores are numbers."
        )


def _class_field(source: FeatureSource, given: str | None, *, across_classes: bool) -> str | None:
    if given is not None and given not in source.fields:
        raise SettingError(
            f"class_value_field={given!r} is no field of {source.name}: it has {list(source.fields)}."
        )
    if across_classes:
        return None
    if given is not None:
        return given
    lower = {name.lower(): name for name in source.fields}
    return next((lower[name] for name in CLASS_FIELDS if name in lower), None)


def _ranked(
    source: FeatureSource, score_field: str, label_field: str | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Geometries, scores and labels of all features.

    Raises LabelError, after the last block, if features have no score.
    """
    numbers: dict[Any, int] = {}
    first: list[int] = []
    missing = rows = 0
    columns = [score_field] if label_field in (None, score_field) else [score_field, label_field]
    for block in source.blocks(columns):
        scores = block.columns[score_field].astype(np.float64)  # None becomes nan
        lost = np.flatnonzero(np.isnan(scores))
        first += (rows + lost[: _NAMED - len(first)]).tolist()
        missing, rows = missing + len(lost), rows + len(scores)
        labels = np.zeros(len(scores), np.int32)
        if label_field is not None:
            labels[:] = _numbered(block.columns[label_field], numbers)
        yield block.geometry, scores, labels
    if missing:
        listed = ", ".join(map(str, first)) + (", ..." if missing > len(first) else "")
        raise LabelError(
            f"{missing} of {rows} features of {source.name} have no number in {score_field!r}, so that none "
            f"can say which comes first: rows {listed} (from 0). Give them a score, or leave them out."
        )


def _numbered(values: np.ndarray, numbers: dict[Any, int]) -> np.ndarray:
    """A number for each value, the same for the same in all blocks."""
    if values.dtype == object:  # text, or with None where a value is missing
        return np.array([numbers.setdefault(value, len(numbers)) for value in values.tolist()], np.int32)
    different, place = np.unique(values, return_inverse=True)
    known = [numbers.setdefault(value, len(numbers)) for value in different.tolist()]
    return np.array(known, np.int32)[place]


def _taken(source: FeatureSource, kept: np.ndarray, fields: list[str]) -> Iterator[FeatureBlock]:
    """The features that are kept, with all their fields."""
    start = 0
    for block in source.blocks(fields):
        here = kept[start : start + len(block)]
        start += len(block)
        yield FeatureBlock(
            block.geometry[here], {name: column[here] for name, column in block.columns.items()}
        )


def _bounds(spool: Spool) -> tuple[float, float, float, float] | None:
    if not spool.count:
        return None
    boxes = spool.column("boxes")
    west, south = boxes[:, 0].min(), boxes[:, 1].min()
    return float(west), float(south), float(boxes[:, 2].max()), float(boxes[:, 3].max())


@contextmanager
def _bench(output: str) -> Iterator[tuple[Path, bool]]:
    """A folder for files that goes away, and whether workers see it, as they do the output's."""
    place = Place.of(output)
    if not place.is_local:
        with tempfile.TemporaryDirectory(prefix="rasterloom-", dir=scratch_folder()) as folder:
            yield Path(folder), False
        return
    beside = place.path.with_name(f".{place.name}.{uuid.uuid4().hex}.nms")
    try:
        yield beside, True
    finally:
        shutil.rmtree(beside, ignore_errors=True)
