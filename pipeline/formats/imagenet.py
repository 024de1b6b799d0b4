"""Imagenet: no label files, the folder of an image is its class."""

from pathlib import Path
from typing import Any

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.formats.directory import IMAGE_SUFFIXES, files_under
from rasterloom.pipeline.formats.layout import (
    ChipFiles,
    ChipFormat,
    Entry,
    Survey,
    check_folder_names,
    value_of,
)
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.layout import StoreSpec

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Imagenet(ChipFormat):
    """``images/CLASSNAME/NAME.tif``."""

    name = "Imagenet"

    def check(self, spec: StoreSpec) -> None:
        check_folder_names(spec.classes, self.name)

    def image_folder(self, spec: StoreSpec, block: ChipBlock, chip: int) -> str:
        assert block.labels is not None, "chips of this kind have labels"
        value = int(block.labels[chip])
        name = next((c.name for c in spec.classes if c.value == value), None)
        if name is None:
            raise SettingError(
                f"chip {int(block.numbers[chip])} is of no class, and Imagenet keeps every chip in the "
                "folder of its class: leave such chips out, or choose Labeled_Tiles."
            )
        return f"images/{name}"

    def survey(self, root: Path) -> Survey:
        base = "images" if (root / "images").is_dir() else ""
        entries, names = [], set()
        for name in files_under(root / base, IMAGE_SUFFIXES):
            folders = name.split("/")[:-1]
            split = _SPLITS.get(folders[0].lower(), "") if len(folders) > 1 else ""
            label = folders[1 if split else 0] if folders else None
            if label is None:
                continue
            names.add(label)
            entries.append(Entry(Path(name).stem, f"{base}/{name}".lstrip("/"), (), "", split))
        if not entries:
            raise StoreError(f"{root} holds no images in folders of their class (images/CLASS/NAME.tif).")
        classes = [ClassInfo(i + 1, name, default_color(i)) for i, name in enumerate(sorted(names))]
        return Survey(tuple(entries), tuple(classes), self.name)

    def label(self, chip: ChipFiles) -> Any:
        # images/CLASS/..., CLASS/... or train/CLASS/...: the first folder that is a class
        for folder in chip.entry.image.split("/")[:-1]:
            value = value_of(folder, chip.spec.classes, names_first=True)
            if value is not None:
                return value
        return 0
