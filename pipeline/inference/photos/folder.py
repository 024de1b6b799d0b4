"""Label the photographs of a folder, as points where they were taken."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from rasterloom.models.errors import MissingInputError, ModelMismatchError, ReadError, SettingError
from rasterloom.pipeline.inference.objects.pictures import Picture
from rasterloom.pipeline.inference.photos.exif import photo_facts
from rasterloom.pipeline.inference.photos.predict import (
    Labeller,
    label_and_share,
    labelling_with,
    read_photo,
)
from rasterloom.pipeline.outputs.features import FeatureBlock, check_output, write_features

PHOTOS = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
"""Endings of the files of a folder that are looked at."""
_IMAGE = "image"
_WORLD = (-180.0, -90.0, 180.0, 90.0)


def predict_folder(
    model: Any,
    folder: str | Path,
    feature_layer_name: str | Path,
    *,
    prediction_field: str = "predict",
    confidence_field: str = "confidence",
    batch_size: int = 64,
    overwrite: bool = False,
) -> Path:
    """Write a point for each photograph of a folder, with its label.

    Settings as for :func:`rasterloom.models.scenes.predicting.predict_folder_and_create_layer`.

    Raises
    ------
    MissingInputError
        If there is no such folder, or no photograph in it.
    OutputExistsError
        If the file exists and ``overwrite`` is false.
    SettingError
        If a setting cannot work.

    Warns
    -----
    UserWarning
        If photographs are left out, because they do not say where they are from or cannot be read.
    """
    _check_fields(prediction_field, confidence_field)
    check_batch(batch_size)
    paths = _photos(Path(folder).expanduser())
    output = Path(feature_layer_name).expanduser()
    output = output if output.suffix else output.with_suffix(".parquet")
    check_output(output, overwrite=overwrite)
    left_out: list[str] = []
    with labelling_with(model) as labeller:
        write_features(
            output,
            _blocks(model, labeller, paths, (prediction_field, confidence_field), batch_size, left_out),
            fields={_IMAGE: "text", prediction_field: "text", confidence_field: "float64"},
            crs="EPSG:4326",
            geometry="Point",
            bounds=_WORLD,
            overwrite=overwrite,
        )
    if left_out:
        warnings.warn(
            f"{len(left_out)} of {len(paths)} photographs are left out; the first: {left_out[0]}",
            stacklevel=3,
        )
    return output


def check_batch(batch_size: Any) -> None:
    """Refuse numbers of images that cannot be seen at once."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise SettingError(f"batch_size={batch_size!r} cannot work: use a whole number, 1 or more.")


def _blocks(
    model: Any,
    labeller: Labeller,
    paths: list[Path],
    fields: tuple[str, str],
    batch_size: int,
    left_out: list[str],
) -> Iterator[FeatureBlock]:
    """The points of some photographs at a time; tells which are left out, and why."""
    for start in range(0, len(paths), batch_size):
        found = [_seen(path, model, left_out) for path in paths[start : start + batch_size]]
        seen = [one for one in found if one is not None]
        if not seen:
            continue
        likely = labeller.probabilities([picture for _, _, picture in seen])
        labels, shares = zip(*(label_and_share(model, row) for row in likely), strict=True)
        yield FeatureBlock(
            shapely.points([place for _, place, _ in seen]),
            {
                _IMAGE: np.array([path.name for path, _, _ in seen], object),
                fields[0]: np.array(labels, object),
                fields[1]: np.array(shares, np.float64),
            },
        )


def _seen(path: Path, model: Any, left_out: list[str]) -> tuple[Path, tuple[float, float], Picture] | None:
    try:
        place = photo_facts(path).place
        if place is not None:
            return path, place, read_photo(path, model)
        left_out.append(f"{path.name} does not say in its EXIF where it was taken.")
    except (ReadError, ModelMismatchError) as error:
        left_out.append(str(error))
    return None


def _photos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise MissingInputError(f"there is no folder {folder}.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTOS)
    if not paths:
        raise MissingInputError(f"{folder} holds no photographs: give a folder of {', '.join(PHOTOS)} files.")
    return paths


def _check_fields(prediction: Any, confidence: Any) -> None:
    names = (_IMAGE, prediction, confidence)
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < 3:
        raise SettingError(
            f"prediction_field={prediction!r}, confidence_field={confidence!r}: give two different names, "
            f"and not {_IMAGE!r}, which holds the photograph's name."
        )
