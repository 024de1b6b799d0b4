"""Chips as folders of files that other software reads and writes: one file per format, this table of them."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rasterloom.models.errors import SettingError

if TYPE_CHECKING:
    from rasterloom.pipeline.formats.layout import ChipFormat

FORMATS: Mapping[str, tuple[str, str]] = {
    "KITTI_rectangles": ("kitti", "Kitti"),
    "PASCAL_VOC_rectangles": ("voc", "Voc"),
    "Classified_Tiles": ("classified", "ClassifiedTiles"),
    "RCNN_Masks": ("rcnn", "RcnnMasks"),
    "Labeled_Tiles": ("labeled", "LabeledTiles"),
    "MultiLabeled_Tiles": ("multilabeled", "MultiLabeledTiles"),
    "Export_Tiles": ("unlabeled", "ExportTiles"),
    "CycleGAN": ("cyclegan", "CycleGan"),
    "Imagenet": ("imagenet", "Imagenet"),
    "Panoptic_Segmentation": ("panoptic", "Panoptic"),
    "COCO": ("coco", "Coco"),
    "YOLO": ("yolo", "Yolo"),
}
"""Module of this room and the class in it, by the metadata format. Modules load when a format is used."""


def folder_format(metadata_format: str) -> "ChipFormat":
    """How chips of a metadata format lie in a folder.

    Raises
    ------
    SettingError
        If there is no such format. Lists them.
    """
    if metadata_format not in FORMATS:
        raise SettingError(
            f"metadata_format={metadata_format!r} is not known: use one of {', '.join(FORMATS)}."
        )
    module, name = FORMATS[metadata_format]
    made: ChipFormat = getattr(importlib.import_module(f"rasterloom.pipeline.formats.{module}"), name)()
    return made
