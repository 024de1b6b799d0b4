"""Labeled_Tiles: an XML file for each chip whose only object names the class value of the chip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.formats.boxes import classes_of_texts, survey_pairs
from rasterloom.pipeline.formats.directory import inside
from rasterloom.pipeline.formats.layout import (
    Batch,
    ChipFiles,
    ChipFormat,
    Entry,
    Survey,
    Written,
    value_of,
)
from rasterloom.pipeline.formats.voc import read_annotation, write_annotation


class LabeledTiles(ChipFormat):
    """The object's box is the chip. A chip of no class has no object."""

    name = "Labeled_Tiles"
    labels_needed = True

    def write(self, batch: Batch) -> list[Written]:
        labels = batch.block.labels
        assert labels is not None, "chips of this kind have labels"
        return [write_whole(batch, chip, [str(v)] if v else []) for chip, v in enumerate(labels.tolist())]

    def survey(self, root: Path) -> Survey:
        return survey_pairs(self.name, root, ".xml")

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        return classes_of_texts(
            name for entry in entries for name, _ in read_annotation(inside(root, entry.labels[0]))[:1]
        )

    def label(self, chip: ChipFiles) -> Any:
        named = read_annotation(inside(chip.root, chip.entry.labels[0]))
        return (value_of(named[0][0], chip.spec.classes) or 0) if named else 0


def write_whole(batch: Batch, chip: int, names: Sequence[str]) -> Written:
    """Write the XML of a chip with objects that are as large as the chip."""
    height, width = batch.size(chip)
    return write_annotation(batch, chip, [(name, (0.0, 0.0, width, height)) for name in names])
