"""RCNN_Masks: for each class a folder of numbered maps, in further bands where objects overlap."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.directory import IMAGE_SUFFIXES, files_under
from rasterloom.pipeline.formats.images import read_image, write_labels
from rasterloom.pipeline.formats.layout import (
    Batch,
    ChipFiles,
    ChipFormat,
    Entry,
    Found,
    Survey,
    Written,
    check_folder_names,
    value_of,
)
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.labels.objects import Objects, instances_of
from rasterloom.pipeline.labels.outlines import filled
from rasterloom.pipeline.store.layout import StoreSpec


class RcnnMasks(ChipFormat):
    """``labels/CLASSNAME/NAME.tif``: 0 = none, 1..n = the objects of a band; absent where there are none."""

    name = "RCNN_Masks"
    labels_needed = True
    several_labels = True

    def check(self, spec: StoreSpec) -> None:
        check_folder_names(spec.classes, self.name)

    def write(self, batch: Batch) -> list[Written]:
        return write_maps(batch, "labels")

    def survey(self, root: Path) -> Survey:
        images = files_under(root / "images", IMAGE_SUFFIXES)
        folders = load_maps(root, "labels")
        entries = []
        for name in images:
            stem = Path(name).stem
            maps = tuple(
                f"labels/{folder}/{names[stem]}" for folder, names in folders.items() if stem in names
            )
            if maps:
                entries.append(Entry(stem, f"images/{name}", maps))
        if not entries:
            raise StoreError(f"{root} holds no images with numbered maps in labels/CLASS/.")
        return Survey(tuple(entries), folder_classes(folders), self.name, len(images) - len(entries))

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        return folder_classes(load_maps(root, "labels"))

    def load(self, root: Path, spec: StoreSpec) -> Any:
        return load_maps(root, "labels")

    def objects(self, chip: ChipFiles) -> Found:
        return read_maps(chip, "labels")


def folder_classes(folders: Sequence[str] | dict[str, Any]) -> tuple[ClassInfo, ...]:
    """Classes by the names of folders, numbered from 1."""
    return tuple(ClassInfo(i + 1, name, default_color(i)) for i, name in enumerate(folders))


def load_maps(root: Path, base: str) -> dict[str, dict[str, str]]:
    """File name of each stem, in each folder of a class."""
    try:
        folders = sorted(item.name for item in os.scandir(root / base) if item.is_dir())
    except OSError:
        return {}
    return {
        folder: {
            Path(name).stem: name
            for name in sorted(item.name for item in os.scandir(root / base / folder))
            if Path(name).suffix.lower() in IMAGE_SUFFIXES
        }
        for folder in folders
    }


def write_maps(batch: Batch, base: str) -> list[Written]:
    """Write the numbered maps of the objects of each chip."""
    objects = batch.block.objects
    assert objects is not None, "chips of this kind have objects"
    names = {info.value: info.name for info in batch.spec.object_classes}
    shape = batch.block.images.shape[2:]
    written = []
    for chip, entry in enumerate(batch.entries):
        own = objects.of([chip])
        height, width = batch.size(chip)
        labels: list[str] = []
        order: list[int] = []
        for value in sorted(set(own.values.tolist())):
            layers, members = number_objects(own, np.flatnonzero(own.values == value), shape)
            label = f"{base}/{names[value]}/{entry.stem}.tif"
            write_labels(
                batch.folder / label,
                layers[:, :height, :width],
                transform=batch.block.transforms[chip],
                crs=batch.crs(chip),
            )
            labels.append(label)
            order += members
        written.append(Written(tuple(labels), np.array(order, np.int64)))
    return written


def number_objects(own: Objects, members: np.ndarray, shape: Any) -> tuple[np.ndarray, list[int]]:
    """Numbered maps (B, H, W) of some objects of a chip: each goes into the first band where it has room.

    Returns
    -------
    maps
        8 bits, or 16 where a band has more than 255 objects.
    order
        The objects band by band, in ascending number.
    """
    assert own.run_counts is not None, "objects of this kind have outlines"
    assert own.runs is not None, "objects of this kind have outlines"
    bands: list[np.ndarray] = []
    held: list[list[int]] = []
    for member in members.tolist():
        runs = own.runs[own.run_starts[member] : own.run_starts[member + 1]]
        (mask,) = filled(np.array([len(runs)]), runs, shape)
        room = next((i for i, band in enumerate(bands) if not band[mask].any()), len(bands))
        if room == len(bands):
            bands.append(np.zeros(shape, np.uint16))
            held.append([])
        held[room].append(member)
        bands[room][mask] = len(held[room])
    maps = np.stack(bands)
    most = max(len(one) for one in held)
    return maps.astype(np.uint8) if most <= 255 else maps, [member for one in held for member in one]


def read_maps(chip: ChipFiles, base: str) -> Found:
    """The objects of a chip: by class value, then by band, then by number."""
    names: dict[str, dict[str, str]] = chip.index
    stem = Path(chip.entry.image).stem
    files = []
    for folder in names:
        value = value_of(folder, chip.spec.object_classes, names_first=True)
        if value is not None and stem in names[folder]:
            files.append((value, chip.root / base / folder / names[folder][stem]))
    values: list[int] = []
    boxes = [np.zeros((0, 4), np.float32)]
    runs: list[np.ndarray] = []
    for value, path in sorted(files):
        layers = read_image(path)
        if layers.shape[1:] != chip.size:
            raise StoreError(
                f"{path} is {layers.shape[1]} x {layers.shape[2]} pixels, and its image "
                f"{chip.size[0]} x {chip.size[1]}: make them of one size."
            )
        for layer in layers:
            found = instances_of(layer)
            assert found.runs is not None, "instances have outlines"
            values += [value] * len(found)
            boxes.append(found.boxes)
            runs += np.split(found.runs, found.run_starts[1:-1]) if len(found) else []
    return Found(np.array(values, np.int64), np.concatenate(boxes), tuple(runs))
