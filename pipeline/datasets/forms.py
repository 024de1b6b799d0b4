"""Which form the chips of a store or folder take, by the name of the data set."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.datasets.change import Change
from rasterloom.pipeline.datasets.form import Form
from rasterloom.pipeline.datasets.images import Pairs, Sharpening
from rasterloom.pipeline.datasets.objects import Boxes
from rasterloom.pipeline.datasets.panoptic import Panoptic
from rasterloom.pipeline.datasets.pixels import Pixels
from rasterloom.pipeline.datasets.scenes import Scenes
from rasterloom.pipeline.formats.opening import is_pair
from rasterloom.pipeline.store.layout import StoreSpec

UNPAIRED = "CycleGAN"

_Maker = Callable[[Mapping[str, Any]], Form]
_FORMS: Mapping[str, tuple[str, _Maker]] = {
    "KITTI_rectangles": ("objects", lambda extra: Boxes()),
    "PASCAL_VOC_rectangles": ("objects", lambda extra: Boxes()),
    "Classified_Tiles": ("masks", lambda extra: Pixels()),
    "RCNN_Masks": ("outlines", lambda extra: Boxes(outlines=True)),
    "Labeled_Tiles": ("one label for each chip", lambda extra: Scenes()),
    "MultiLabeled_Tiles": ("several labels for each chip", lambda extra: Scenes(several=True)),
    "Imagenet": ("one label for each chip", lambda extra: Scenes()),
    "Export_Tiles": ("images", lambda extra: Sharpening(float(extra["downsample_factor"]))),
    "CycleGAN": ("images", lambda extra: Pairs(("A", "B"))),
    "Panoptic_Segmentation": (
        "masks and outlines",
        lambda extra: Panoptic(int(extra["n_masks"])),
    ),
    "ChangeDetection": ("masks and second images", lambda extra: Change()),
    "superres": ("images", lambda extra: Sharpening(float(extra["downsample_factor"]))),
    "Pix2Pix": ("second images", lambda extra: Pairs()),
    "COCO": ("outlines", lambda extra: Boxes(outlines=True)),
    "YOLO": ("objects", lambda extra: Boxes()),
}
"""What chips must have for a data set type, and its form. The first ten are chip formats too."""

DATASET_TYPES = tuple(_FORMS)
"""Data set types that are read."""

_SPELLINGS = {"Labelled_Tiles": "Labeled_Tiles", "ImageNet": "Imagenet", "SuperRes": "superres"}
_VIEWS = ("ChangeDetection", "superres", "Pix2Pix")
"""Ways to look at chips that are no formats of folders."""


def known_type(dataset_type: str | None) -> str | None:
    """The data set type in its usual spelling.

    Raises
    ------
    SettingError
        If it is not read here; lists those that are.
    """
    usual = _SPELLINGS.get(str(dataset_type), dataset_type)
    if usual is not None and usual not in _FORMS:
        raise SettingError(
            f"dataset_type={dataset_type!r} is not read by prepare_data: use one of "
            f"{', '.join(DATASET_TYPES)}, or None to take what the chips say."
        )
    return usual


def folder_type(dataset_type: str | None) -> str | None:
    """The format of a folder that does not tell it, as far as the data set type says it."""
    return None if dataset_type in _VIEWS else dataset_type


def is_unpaired(path: Any, dataset_type: str | None) -> bool:
    """Whether a path holds two sets of chips that do not belong together."""
    if dataset_type is not None:
        return dataset_type == UNPAIRED
    first = path if isinstance(path, (str, Path)) else next(iter(path), "")
    return "://" not in str(first) and is_pair(first)


def choose_form(spec: StoreSpec, dataset_type: str | None, extra: Mapping[str, Any]) -> Form:
    """How chips are read.

    Parameters
    ----------
    dataset_type
        One of :data:`DATASET_TYPES`; None takes what the chips are made for.
    extra
        ``n_masks`` and ``downsample_factor``.

    Raises
    ------
    StoreError
        If the chips lack what the data set type needs.
    """
    name = dataset_type or _natural(spec)
    needed, make = _FORMS[name]
    if not _has(spec, needed):
        raise StoreError(
            f"dataset_type={name!r} needs {needed}, and these are {spec.metadata_format} chips"
            f"{'' if spec.bands2 else ' without second images'}: export them as a format that holds them."
        )
    return make(extra)


def _natural(spec: StoreSpec) -> str:
    if spec.bands2:
        return {"Classified_Tiles": "ChangeDetection", "Export_Tiles": "Pix2Pix"}[spec.metadata_format]
    return spec.metadata_format


def _has(spec: StoreSpec, needed: str) -> bool:
    kind = spec.kind
    return {
        "images": True,
        "masks": kind.masks,
        "objects": kind.objects,
        "outlines": kind.outlines,
        "masks and outlines": kind.masks and kind.outlines,
        "masks and second images": kind.masks and bool(spec.bands2),
        "second images": bool(spec.bands2),
        "one label for each chip": kind.labels and not kind.several_labels,
        "several labels for each chip": kind.labels and kind.several_labels,
    }[needed]
