"""Classified_Tiles: a class map beside each image; with images2/ it shows a change."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.boxes import survey_pairs
from rasterloom.pipeline.formats.directory import inside
from rasterloom.pipeline.formats.images import read_image, write_labels
from rasterloom.pipeline.formats.layout import Batch, ChipFiles, ChipFormat, Entry, Survey, Written
from rasterloom.pipeline.formats.unlabeled import paired
from rasterloom.pipeline.labels.classes import default_color


class ClassifiedTiles(ChipFormat):
    """One band, pixel = class value, 0 = no class; 8 bits, or 16 for larger values."""

    name = "Classified_Tiles"
    labels_needed = True

    def write(self, batch: Batch) -> list[Written]:
        return write_masks(batch)

    def survey(self, root: Path) -> Survey:
        found = survey_pairs(self.name, root, ".tif")
        if all(entry.labels == (entry.image,) for entry in found.entries):
            raise StoreError(f"{root} has no labels/ with a class map for each image.")
        return Survey(paired(root, found.entries), (), self.name, found.dropped)

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        values: set[int] = set()
        for entry in entries:
            values |= set(np.unique(read_mask_file(inside(root, entry.labels[0]))).tolist())
        known = sorted(values - {0})
        return tuple(ClassInfo(value, str(value), default_color(i)) for i, value in enumerate(known))

    def mask(self, chip: ChipFiles) -> np.ndarray:
        return read_mask(chip)


def write_masks(batch: Batch) -> list[Written]:
    """Write the class map of each chip."""
    masks = batch.block.masks
    assert masks is not None, "chips of this kind have masks"
    written = []
    for chip, entry in enumerate(batch.entries):
        height, width = batch.size(chip)
        label = f"labels/{entry.stem}.tif"
        write_labels(
            batch.folder / label,
            masks[chip : chip + 1, :height, :width],
            transform=batch.block.transforms[chip],
            crs=batch.crs(chip),
        )
        written.append(Written((label,)))
    return written


def read_mask(chip: ChipFiles) -> np.ndarray:
    """The class map of a chip.

    Raises
    ------
    StoreError
        If its size is not the image's.
    """
    path = inside(chip.root, chip.entry.labels[0])
    mask = read_mask_file(path)
    if mask.shape != chip.size:
        raise StoreError(
            f"{path} is {mask.shape[0]} x {mask.shape[1]} pixels, and its image "
            f"{chip.size[0]} x {chip.size[1]}: make them of one size."
        )
    return mask


def read_mask_file(path: Path) -> np.ndarray:
    """The first band of a label image, as whole numbers of 0 or more.

    Raises
    ------
    StoreError
        If it holds other numbers.
    """
    pixels = read_image(path)[0]
    if pixels.dtype.kind == "u":
        return pixels
    whole = pixels.astype(np.int64, copy=False)
    if (whole != pixels).any() or (whole.size and (whole.min() < 0 or whole.max() > 65535)):
        raise StoreError(f"{path} holds numbers that are no class values: use whole numbers from 0 to 65535.")
    return whole.astype(np.uint16)
