"""Panoptic_Segmentation: a class map of everything, and numbered maps of the instances."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.formats.classified import ClassifiedTiles, read_mask, write_masks
from rasterloom.pipeline.formats.layout import (
    Batch,
    ChipFiles,
    ChipFormat,
    Entry,
    Found,
    Survey,
    Written,
    check_folder_names,
)
from rasterloom.pipeline.formats.rcnn import folder_classes, load_maps, read_maps, write_maps
from rasterloom.pipeline.store.layout import StoreSpec


class Panoptic(ChipFormat):
    """``labels/NAME.tif`` as Classified_Tiles, ``labels2/INSTANCECLASS/NAME.tif`` as RCNN_Masks."""

    name = "Panoptic_Segmentation"
    labels_needed = True

    def check(self, spec: StoreSpec) -> None:
        check_folder_names(spec.object_classes, self.name)

    def write(self, batch: Batch) -> list[Written]:
        both = zip(write_masks(batch), write_maps(batch, "labels2"), strict=True)
        return [Written((*first.labels, *second.labels), second.order) for first, second in both]

    def survey(self, root: Path) -> Survey:
        found = ClassifiedTiles().survey(root)
        instances = folder_classes(load_maps(root, "labels2"))
        return Survey(found.entries, (), self.name, found.dropped, instances)

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        return ClassifiedTiles().classes(root, entries)

    def load(self, root: Path, spec: StoreSpec) -> Any:
        return load_maps(root, "labels2")

    def mask(self, chip: ChipFiles) -> np.ndarray:
        return read_mask(chip)

    def objects(self, chip: ChipFiles) -> Found:
        return read_maps(chip, "labels2")
