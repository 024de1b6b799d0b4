"""MultiLabeled_Tiles: an XML file for each chip whose first object names all classes, with commas between."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.formats.boxes import survey_pairs
from rasterloom.pipeline.formats.directory import inside
from rasterloom.pipeline.formats.labeled import write_whole
from rasterloom.pipeline.formats.layout import (
    Batch,
    ChipFiles,
    ChipFormat,
    Entry,
    Survey,
    Written,
    value_of,
)
from rasterloom.pipeline.formats.voc import read_annotation
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.store.layout import StoreSpec


class MultiLabeledTiles(ChipFormat):
    """The names are those of the classes."""

    name = "MultiLabeled_Tiles"
    labels_needed = True

    def check(self, spec: StoreSpec) -> None:
        seen: set[str] = set()
        for info in spec.classes:
            if "," in info.name or info.name != info.name.strip() or not info.name:
                raise SettingError(
                    f"class name {info.name!r} cannot stand in a list with commas, which MultiLabeled_Tiles "
                    "keeps: give the class another name, or choose another format."
                )
            if info.name in seen:
                raise SettingError(
                    f"two classes are called {info.name!r}, and MultiLabeled_Tiles names classes: "
                    "give them names of their own."
                )
            seen.add(info.name)

    def write(self, batch: Batch) -> list[Written]:
        labels = batch.block.labels
        assert labels is not None, "chips of this kind have labels"
        names = [info.name for info in batch.spec.classes]
        written = []
        for chip, row in enumerate(labels.tolist()):
            present = [name for name, there in zip(names, row, strict=True) if there]
            written.append(write_whole(batch, chip, [",".join(present)] if present else []))
        return written

    def survey(self, root: Path) -> Survey:
        return survey_pairs(self.name, root, ".xml")

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        names = {name for entry in entries for name in _names(inside(root, entry.labels[0]))}
        return tuple(ClassInfo(i + 1, name, default_color(i)) for i, name in enumerate(sorted(names)))

    def label(self, chip: ChipFiles) -> Any:
        values = {
            value_of(name, chip.spec.classes, names_first=True)
            for name in _names(inside(chip.root, chip.entry.labels[0]))
        }
        return np.array([info.value in values for info in chip.spec.classes], np.uint8)


def _names(path: Path) -> list[str]:
    named = read_annotation(path)
    return [part.strip() for part in named[0][0].split(",") if part.strip()] if named else []
