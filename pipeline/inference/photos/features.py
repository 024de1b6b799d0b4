"""Label features by chips that were exported of them, by photographs attached to them, or by a raster."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas

from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.datasets.sources import ChipSource, open_chips
from rasterloom.pipeline.inference.objects.pictures import Picture, picture_of
from rasterloom.pipeline.inference.photos.folder import check_batch
from rasterloom.pipeline.inference.photos.predict import (
    Labeller,
    label_and_share,
    labelling_with,
    read_photo,
)
from rasterloom.pipeline.inference.photos.votes import changing, put_fields
from rasterloom.pipeline.inference.scenes.classify import classify_objects
from rasterloom.pipeline.inference.scenes.product import CLASS_LABEL, CONFIDENCE

ATTACHMENTS = "attachments"
"""Field that names the images of a feature."""
_ROW = "row"
_CHIPS = 64
"""Exported chips that are read at once."""

Vote = tuple[Any, float]
Decision = Callable[[list[Vote]], Vote]


def classify_features(
    model: Any,
    feature_layer: Any,
    labeled_tiles_directory: str | Path,
    *,
    input_label_field: str,
    output_label_field: str,
    confidence_field: str | None,
    predict_function: Decision,
) -> None:
    """Write the labels of exported chips to the features that they are of.

    Settings as for :func:`rasterloom.models.scenes.predicting.classify_features`.

    Raises
    ------
    LabelError
        If the features lack the field, or it does not tell them apart.
    MissingInputError, StoreError
        If the chips are not there, or are no labelled ones.
    SettingError
        If a setting cannot work.
    """
    source = open_chips(labeled_tiles_directory, "Labeled_Tiles")
    if not source.spec.kind.labels or source.spec.kind.several_labels:
        raise SettingError(
            f"{labeled_tiles_directory} holds {source.spec.metadata_format} chips: export them as "
            f"Labeled_Tiles, with {input_label_field} as the class field."
        )
    with changing(feature_layer) as frame, labelling_with(model) as labeller:
        keys = _keys(frame, input_label_field)
        votes: dict[int, list[Vote]] = {}
        for start in range(0, len(source), _CHIPS):
            chips = np.arange(start, min(start + _CHIPS, len(source)))
            for key, vote in _votes_of_chips(model, labeller, source, chips):
                votes.setdefault(key, []).append(vote)
        decided = {key: predict_function(some) for key, some in votes.items()}
        fields = {output_label_field: [decided.get(key, (None, None))[0] for key in keys]}
        if confidence_field is not None:
            fields[confidence_field] = [decided.get(key, (None, None))[1] for key in keys]
        put_fields(frame, fields, overwrite=True)


def categorize_features(
    model: Any,
    feature_layer: Any,
    raster: Any = None,
    *,
    class_value_field: str,
    class_name_field: str,
    confidence_field: str | None,
    cell_size: float,
    coordinate_system: Any,
    predict_function: Decision,
    batch_size: int,
    overwrite: bool,
) -> None:
    """Write the labels of features to them, by their attachments or by what a raster shows of them.

    Settings as for :func:`rasterloom.models.scenes.predicting.categorize_features`.

    Raises
    ------
    SettingError
        If a setting cannot work, or the features have such fields already.
    LabelError
        If there is no raster, and the features have no attachments.
    """
    check_batch(batch_size)
    with changing(feature_layer) as frame:
        names = [class_value_field, class_name_field, *([confidence_field] if confidence_field else [])]
        put_fields(frame.iloc[:0].copy(), {name: [] for name in names}, overwrite=overwrite)  # refused now
        if raster is None:
            votes = _by_attachments(model, frame, feature_layer, predict_function, batch_size)
        else:
            votes = _by_raster(
                model,
                frame,
                raster,
                context={"cellSize": cell_size, **_out_sr(coordinate_system)},
                batch_size=batch_size,
            )
        known = {info.name: info.value for info in model.output_classes}
        columns: tuple[list[Any], ...] = (
            [known.get(label) for label, _ in votes],  # None for several labels together
            [label for label, _ in votes],
            [share for _, share in votes],
        )
        put_fields(frame, dict(zip(names, columns, strict=False)), overwrite=True)


def _votes_of_chips(
    model: Any, labeller: Labeller, source: ChipSource, chips: np.ndarray
) -> Iterator[tuple[int, Vote]]:
    read = source.read(chips, {"labels"})
    assert read.labels is not None, "chips of this kind have labels"
    pictures = [
        picture_of(image[:, :height, :width], model, "a chip")
        for image, (height, width) in zip(read.images, read.limits.tolist(), strict=True)
    ]
    likely = labeller.probabilities(pictures)
    for key, row in zip(read.labels.tolist(), likely, strict=True):
        yield int(key), label_and_share(model, row)


def _keys(frame: Any, field: str) -> list[int]:
    if field not in frame.columns:
        known = ", ".join(name for name in frame.columns if name != frame.geometry.name)
        raise LabelError(f"the features have no field {field!r}: they have {known}.")
    values = frame[field]
    if not pandas.api.types.is_integer_dtype(values) or not values.is_unique:
        raise LabelError(
            f"{field!r} does not tell the features apart: name a field of whole numbers, each another one."
        )
    return [int(value) for value in values]


def _by_attachments(
    model: Any, frame: Any, layer: Any, decide: Decision, batch_size: int
) -> list[tuple[Any, float | None]]:
    """What the images of each feature show."""
    if ATTACHMENTS not in frame.columns:
        raise LabelError(
            f"there is no raster, and the features have no field {ATTACHMENTS!r} that names images of them: "
            "give a raster, or such a field."
        )
    base = Path(layer).expanduser().parent if isinstance(layer, str | Path) else Path()
    paths = [(row, base / path) for row, named in enumerate(frame[ATTACHMENTS]) for path in _listed(named)]
    votes: dict[int, list[Vote]] = {}
    with labelling_with(model) as labeller:
        for start in range(0, len(paths), batch_size):
            some = paths[start : start + batch_size]
            pictures: list[Picture] = [read_photo(path, model) for _, path in some]
            for (row, _), likely in zip(some, labeller.probabilities(pictures), strict=True):
                votes.setdefault(row, []).append(label_and_share(model, likely))
    return [decide(votes[row]) if row in votes else (None, None) for row in range(len(frame))]


def _by_raster(
    model: Any, frame: Any, raster: Any, *, context: Mapping[str, Any], batch_size: int
) -> list[tuple[Any, float | None]]:
    """What a raster shows of each feature; None and None where it does not show it."""
    rows = {_ROW: np.arange(len(frame))}
    features = geopandas.GeoDataFrame(rows, geometry=list(frame.geometry), crs=frame.crs)
    with tempfile.TemporaryDirectory(prefix="rasterloom-categorize-") as folder:
        path = classify_objects(
            raster,
            model,
            {"batch_size": batch_size},
            features,
            output_name=Path(folder) / "labels.parquet",
            context=context,
            progress=False,
        )
        found = pandas.read_parquet(path, columns=[_ROW, CLASS_LABEL, CONFIDENCE]).set_index(_ROW)
    labels, shares = (found[name].reindex(range(len(frame))) for name in (CLASS_LABEL, CONFIDENCE))
    return [
        (None, None) if pandas.isna(label) else (str(label), float(share) / 100)
        for label, share in zip(labels, shares, strict=True)
    ]


def _listed(named: Any) -> Sequence[str]:
    if isinstance(named, str | Path):
        return [str(named)] if str(named) else []
    if isinstance(named, Sequence | np.ndarray):
        return [str(path) for path in named]
    return []


def _out_sr(coordinate_system: Any) -> Mapping[str, Any]:
    return {} if coordinate_system is None else {"outSR": coordinate_system}
