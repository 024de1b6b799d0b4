"""What chips of each metadata format hold."""

from collections.abc import Mapping
from dataclasses import dataclass

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError


@dataclass(frozen=True)
class Kind:
    """Which parts the chips of a metadata format have besides their images."""

    task: Task
    masks: bool = False
    """A class value for each pixel."""
    objects: bool = False
    """Boxes with a class."""
    outlines: bool = False
    """The pixels of each object."""
    labels: bool = False
    """A class value for the whole chip."""
    several_labels: bool = False
    """``labels`` says of every class whether it occurs."""
    pairs: bool = False
    """A second raster's images are allowed."""


KINDS: Mapping[str, Kind] = {
    "KITTI_rectangles": Kind(Task.OBJECTS, objects=True),
    "PASCAL_VOC_rectangles": Kind(Task.OBJECTS, objects=True),
    "Classified_Tiles": Kind(Task.PIXELS, masks=True, pairs=True),
    "RCNN_Masks": Kind(Task.OBJECTS, objects=True, outlines=True),
    "Labeled_Tiles": Kind(Task.SCENES, labels=True),
    "MultiLabeled_Tiles": Kind(Task.SCENES, labels=True, several_labels=True),
    "Export_Tiles": Kind(Task.IMAGES, pairs=True),
    "CycleGAN": Kind(Task.IMAGES),
    "Imagenet": Kind(Task.SCENES, labels=True),
    "Panoptic_Segmentation": Kind(Task.OBJECTS, masks=True, objects=True, outlines=True),
    "COCO": Kind(Task.OBJECTS, objects=True, outlines=True),
    "YOLO": Kind(Task.OBJECTS, objects=True),
}
"""By the reference's names in its order, then COCO and YOLO. Classified_Tiles pairs show change."""


def kind_of(metadata_format: str) -> Kind:
    """The kind of a metadata format.

    Raises
    ------
    SettingError
        If there is no such format. Lists them.
    """
    if metadata_format not in KINDS:
        raise SettingError(
            f"metadata_format={metadata_format!r} is not known: use one of {', '.join(KINDS)}."
        )
    return KINDS[metadata_format]
