"""Boxes with a class, as the formats of rectangles share them."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.directory import IMAGE_SUFFIXES, files_under
from rasterloom.pipeline.formats.layout import ChipFiles, Entry, Found, Survey, value_of
from rasterloom.pipeline.labels.classes import default_color

_IMAGES = ("images", "JPEGImages", "image_2", ".")
_LABELS = ("labels", "Annotations", "annotations", "label_2", "xmls", ".")
"""Where rectangles are kept: our names, then those of the data sets that the formats come from."""


def found_boxes(rows: Sequence[tuple[str, Sequence[float]]], chip: ChipFiles) -> Found:
    """Boxes of known classes; rows are the class's text and xmin, ymin, xmax, ymax."""
    values, boxes = [], []
    for text, box in rows:
        value = value_of(text, chip.spec.object_classes)
        if value is None:
            continue
        values.append(value)
        boxes.append(box)
    return with_inside(values, boxes, chip)


def with_inside(
    values: Sequence[int],
    boxes: Sequence[Sequence[float]] | np.ndarray,
    chip: ChipFiles,
    runs: Sequence[np.ndarray] | None = None,
) -> Found:
    """Objects clipped to their chip; warns of those that have no area there, and drops them.

    Parameters
    ----------
    values, boxes, runs
        Class value, xmin, ymin, xmax, ymax in pixels, and perhaps the pixels of each object.

    Raises
    ------
    StoreError
        If a box has no four finite sides.
    """
    sides = np.array(boxes, np.float64).reshape(-1, 4)
    image = chip.root / chip.entry.image
    if not np.isfinite(sides).all():
        raise StoreError(f"the labels of {image} have a box that lacks a side, and so an inside: mend them.")
    height, width = chip.size
    sides = np.clip(sides, 0, np.array([width, height, width, height], np.float64)).astype(np.float32)
    kept: np.ndarray = np.all(sides[:, 2:] > sides[:, :2], axis=1)
    if not kept.all():
        count = int((~kept).sum())
        warnings.warn(
            f"{count} of the {len(kept)} boxes of {image} have no area inside the chip: they are left out.",
            UserWarning,
            stacklevel=2,
        )
    chosen = None if runs is None else tuple(runs[place] for place in np.flatnonzero(kept).tolist())
    return Found(np.array(values, np.int64)[kept], sides[kept], chosen)


def classes_of_texts(texts: Iterable[str]) -> tuple[ClassInfo, ...]:
    """The classes that label files mention: whole numbers are values, other texts are names from 1 on."""
    seen = sorted({text.strip() for text in texts})
    if all(_whole(text) for text in seen):
        values = sorted({int(float(text)) for text in seen})
        return tuple(ClassInfo(value, str(value), default_color(i)) for i, value in enumerate(values))
    return tuple(ClassInfo(i + 1, name, default_color(i)) for i, name in enumerate(seen))


def survey_pairs(metadata_format: str, root: Path, suffix: str) -> Survey:
    """Images and label files of the same stem, in the folders that such data sets use.

    Raises
    ------
    StoreError
        If there are none.
    """
    labels = _first(root, _LABELS, frozenset({suffix}))
    images = _first(root, _IMAGES, IMAGE_SUFFIXES)
    by_stem = {str(Path(name).with_suffix("")): f"{labels[0]}{name}" for name in labels[1]}
    entries, dropped = [], 0
    for name in images[1]:
        label = by_stem.get(str(Path(name).with_suffix("")))
        dropped += label is None
        if label is not None:
            entries.append(Entry(Path(name).stem, f"{images[0]}{name}", (label,)))
    if not entries:
        raise StoreError(
            f"{root} holds no images with {suffix} files of the same name: {metadata_format} keeps them in "
            "images/ and labels/."
        )
    return Survey(tuple(entries), (), metadata_format, dropped)


def _first(root: Path, folders: Sequence[str], suffixes: frozenset[str]) -> tuple[str, list[str]]:
    """The first of the folders that holds such files, as a prefix, and the files."""
    for folder in folders:
        found = files_under(root / folder, suffixes)
        if found:
            return ("" if folder == "." else f"{folder}/"), found
    return "", []


def _whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False
