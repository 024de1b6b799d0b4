"""Boxes with a class, as the formats of rectangles share them."""

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
    """Boxes of known classes, clipped to the chip; rows are the class's text and xmin, ymin, xmax, ymax.

    Raises
    ------
    StoreError
        If a box has no four finite sides, or its sides are the wrong way round.
    """
    values, boxes = [], []
    for text, box in rows:
        value = value_of(text, chip.spec.object_classes)
        if value is None:
            continue
        values.append(value)
        boxes.append(box)
    sides = np.array(boxes, np.float64).reshape(-1, 4)
    height, width = chip.size
    if not np.isfinite(sides).all() or (sides[:, :2] > sides[:, 2:]).any():
        raise StoreError(
            f"the labels of {chip.root / chip.entry.image} have a box without an inside: mend them."
        )
    inside = np.clip(sides, 0, np.array([width, height, width, height], np.float64))
    return Found(np.array(values, np.int64), inside.astype(np.float32))


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
