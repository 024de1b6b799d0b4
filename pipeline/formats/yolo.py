"""YOLO: images and text files in folders of their split, with a list of classes in data.yaml."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.boxes import with_inside
from rasterloom.pipeline.formats.directory import IMAGE_SUFFIXES, Listing, files_under, inside, replace_text
from rasterloom.pipeline.formats.kitti import write_text
from rasterloom.pipeline.formats.layout import Batch, ChipFiles, ChipFormat, Entry, Found, Survey, Written
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Yolo(ChipFormat):
    """A line is ``class x y width height``: the class from 0 in the order of data.yaml, the centre and the
    sides of the box as parts of the image's. Chips of no split are in train."""

    name = "YOLO"
    exported = False
    near = 0.02  # six decimals of the side of a chip of up to 16,384 pixels

    def image_folder(self, spec: StoreSpec, block: ChipBlock, chip: int) -> str:
        return f"images/{SPLITS[int(block.split[chip])] or 'train'}"

    def write(self, batch: Batch) -> list[Written]:
        objects = batch.block.objects
        assert objects is not None, "chips of this kind have objects"
        position = {info.value: index for index, info in enumerate(batch.spec.object_classes)}
        written = []
        for chip, entry in enumerate(batch.entries):
            own = objects.of([chip])
            height, width = batch.size(chip)
            boxes = own.boxes.astype(np.float64) / (width, height, width, height)
            centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            lines = [
                f"{position[value]} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"
                for value, (x, y), (w, h) in zip(
                    own.values.tolist(), centre.tolist(), side.tolist(), strict=True
                )
            ]
            label = f"labels/{entry.image.split('/')[1]}/{entry.stem}.txt"
            write_text(batch.folder / label, "".join(lines))
            written.append(Written((label,)))
        return written

    def finish(self, folder: Path, spec: StoreSpec, parts: Path, labels: LabelStats) -> None:
        there = [split for split in SPLITS[1:] if (folder / "images" / split).is_dir()]
        lines = [f"{split}: images/{split}\n" for split in there]
        if "val" not in there:  # trainers ask for it
            lines.append(f"val: images/{there[0] if there else 'train'}\n")
        # a text of JSON is one of YAML too
        names = "".join(
            f"  {index}: {json.dumps(info.name, ensure_ascii=False)}\n"
            for index, info in enumerate(spec.object_classes)
        )
        replace_text(folder / "data.yaml", "".join(lines) + f"names:\n{names}")

    def survey(self, root: Path) -> Survey:
        known = Listing(root)
        entries = []
        for name in files_under(root, IMAGE_SUFFIXES):
            folders = name.split("/")[:-1]
            if "images" not in folders:
                continue
            split = next((_SPLITS[f.lower()] for f in folders if f.lower() in _SPLITS), "")
            label = _label_of(name)
            # an image without a text file is one without objects
            entries.append(Entry(Path(name).stem, name, (label,) if known.has(label) else (), "", split))
        if not entries:
            raise StoreError(f"{root} has no images: YOLO keeps them in images/train and images/val.")
        return Survey(tuple(entries), (), self.name)

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        named = _names(root)
        if not named:
            rows = (row for entry in entries for label in entry.labels for row in _rows(inside(root, label)))
            named = {index: str(index) for index in sorted({int(row[0]) for row in rows})}
        return tuple(ClassInfo(i + 1, name, default_color(i)) for i, name in named.items())

    def load(self, root: Path, spec: StoreSpec) -> Any:
        """Class value of each number in the text files."""
        named = _names(root)
        classes = spec.object_classes
        if len(named) == len(classes):
            return dict(zip(named, (info.value for info in classes), strict=True))
        return {info.value - 1: info.value for info in classes}

    def objects(self, chip: ChipFiles) -> Found:
        height, width = chip.size
        classes: dict[int, int] = chip.index
        values, boxes = [], []
        for label in chip.entry.labels:
            for row in _rows(inside(chip.root, label)):
                if int(row[0]) not in classes:
                    continue
                values.append(classes[int(row[0])])
                boxes.append(_box(row[1:]))
        sides = np.array(boxes, np.float64).reshape(-1, 4) * (width, height, width, height)
        return with_inside(values, sides, chip)


def _box(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """xmin, ymin, xmax, ymax of a box, or around an outline."""
    if len(numbers) > 5 and len(numbers) % 2 == 0:
        xs, ys = numbers[0::2], numbers[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    x, y, w, h = numbers[:4]
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _label_of(image: str) -> str:
    """The text file of an image: the last ``images`` of its path is ``labels``."""
    folders = image.split("/")[:-1]
    at = len(folders) - 1 - folders[::-1].index("images")
    return "/".join([*folders[:at], "labels", *folders[at + 1 :], f"{Path(image).stem}.txt"])


def _rows(path: Path) -> list[list[float]]:
    try:
        rows = [
            [float(n) for n in line.split()] for line in path.read_text("utf-8").splitlines() if line.strip()
        ]
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} is no YOLO label file: {error}. Mend it, or remove it.") from error
    if any(len(row) < 5 or not np.isfinite(row).all() for row in rows):
        raise StoreError(f"{path} has a line of fewer than five numbers: mend it, or remove it.")
    return rows


def _names(root: Path) -> dict[int, str]:
    """Name of each class number in data.yaml, ascending; empty without one."""
    path = next(
        (root / name for name in ("data.yaml", "data.yml", "dataset.yaml") if (root / name).exists()), None
    )
    if path is None:
        return {}
    try:
        names: Any = (yaml.safe_load(path.read_text("utf-8")) or {}).get("names", {})
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return dict(sorted((int(index), str(name)) for index, name in pairs))
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise StoreError(f"{path} cannot be read: {error}. It lists the classes under names.") from error
