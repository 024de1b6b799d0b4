"""COCO: images/ and one JSON file of all objects for each split, with boxes and run lengths."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError, StoreError
from rasterloom.pipeline.formats.boxes import with_inside
from rasterloom.pipeline.formats.directory import Listing, inside, replace_text
from rasterloom.pipeline.formats.layout import Batch, ChipFiles, ChipFormat, Entry, Found, Survey, Written
from rasterloom.pipeline.formats.rle import from_text, run_lengths, to_mask, to_text
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.labels.outlines import filled, united
from rasterloom.pipeline.labels.runs import runs_of
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.store.chips import LabelStats
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec


class Coco(ChipFormat):
    """``category_id`` is the class value. Chips of no split are in ``instances.json``."""

    name = "COCO"
    exported = False
    gathered = True
    near = 0.001

    def write(self, batch: Batch) -> list[Written]:
        objects = batch.block.objects
        assert objects is not None, "chips of this kind have objects"
        lines = [_line(batch, chip, objects.of([chip])) for chip in range(len(batch.entries))]
        replace_text(batch.folder / ".sink" / "coco" / f"{batch.start:012d}.jsonl", "".join(lines))
        return [Written() for _ in lines]

    def finish(self, folder: Path, spec: StoreSpec, parts: Path, labels: LabelStats) -> None:
        pieces = sorted((parts.parent / "coco").glob("*.jsonl"))
        seen = {json.loads(line)["split"] for piece in pieces for line in _text(piece).splitlines()}
        for split in sorted(seen) or [""]:
            _write_annotations(folder, spec, pieces, split)

    def survey(self, root: Path) -> Survey:
        known = Listing(root)
        entries, dropped, plain = [], 0, False
        categories: dict[int, str] = {}
        for path, document in _documents(root):
            split = _split_of(path)
            for category in document["categories"]:
                key = int(category["id"])
                if categories.setdefault(key, str(category.get("name", key))) != str(
                    category.get("name", key)
                ):
                    raise StoreError(f"{path} gives category {key} another name than the other files do.")
            for image in document["images"]:
                place = _place(root, known, str(image["file_name"]), split)
                dropped += place is None
                if place is not None:
                    entries.append(Entry(Path(place).stem, place, (), "", split))
            plain |= any(not one.get("segmentation") for one in document["annotations"])
        if not entries:
            raise StoreError(f"{root} has annotations, and none of their images: keep them in images/.")
        classes = tuple(
            ClassInfo(value + _shift(categories), categories[value], default_color(i))
            for i, value in enumerate(sorted(categories))
        )
        # objects without outlines make chips of boxes
        kind = "PASCAL_VOC_rectangles" if plain else self.name
        return Survey(tuple(dict.fromkeys(entries)), classes, kind, dropped)

    def load(self, root: Path, spec: StoreSpec) -> Any:
        known = Listing(root)
        index: dict[str, list[dict[str, Any]]] = {}
        for path, document in _documents(root):
            split = _split_of(path)
            shift = _shift([int(category["id"]) for category in document["categories"]])
            places = {
                image["id"]: _place(root, known, str(image["file_name"]), split)
                for image in document["images"]
            }
            for one in document["annotations"]:
                place = places.get(one["image_id"])
                if place is not None and not one.get("iscrowd"):
                    index.setdefault(place, []).append({**one, "category_id": one["category_id"] + shift})
        return index

    def objects(self, chip: ChipFiles) -> Found:
        values, boxes, runs = [], [], []
        outlines = chip.spec.kind.outlines
        known = {info.value for info in chip.spec.object_classes}
        for one in chip.index.get(chip.entry.image, ()):
            if one["category_id"] not in known:
                continue
            try:
                x, y, w, h = (float(number) for number in one["bbox"])
                own = _runs(one["segmentation"], chip.size) if outlines else np.zeros((0, 2), np.int32)
            except (ValueError, TypeError, KeyError) as error:
                raise StoreError(
                    f"annotation {one.get('id')} of {chip.root / chip.entry.image} cannot be read: {error}."
                ) from error
            if outlines and not len(own):
                continue
            values.append(one["category_id"])
            boxes.append((x, y, x + w, y + h))
            runs.append(own)
        return with_inside(values, boxes, chip, runs if outlines else None)


def _line(batch: Batch, chip: int, own: Objects) -> str:
    """One chip and its annotations, as a line of JSON; their ids are given out at the end."""
    height, width = batch.size(chip)
    entry = batch.entries[chip]
    shape = (int(batch.block.images.shape[2]), int(batch.block.images.shape[3]))
    annotations = []
    for number, value in enumerate(own.values.tolist()):
        x0, y0, x1, y1 = own.boxes[number].astype(np.float64).tolist()
        one: dict[str, Any] = {"category_id": value, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        if own.runs is None:
            one |= {"area": (x1 - x0) * (y1 - y0), "segmentation": []}
        else:
            runs = own.runs[own.run_starts[number] : own.run_starts[number + 1]]
            mask = filled(np.array([len(runs)]), runs, shape)[0, :height, :width]
            counts = to_text(run_lengths(mask))
            one |= {"area": int(mask.sum()), "segmentation": {"size": [height, width], "counts": counts}}
        annotations.append(one)
    image = {
        "id": int(batch.block.numbers[chip]),
        "file_name": entry.image.removeprefix("images/"),
        "width": width,
        "height": height,
    }
    split = SPLITS[int(batch.block.split[chip])]
    return json.dumps({"split": split, "image": image, "annotations": annotations}, ensure_ascii=False) + "\n"


def _write_annotations(folder: Path, spec: StoreSpec, pieces: Sequence[Path], split: str) -> None:
    """Write one file piece by piece: all annotations together may not fit in memory."""
    path = folder / "annotations" / (f"instances_{split}.json" if split else "instances.json")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write('{"info": {"description": "chips written by rasterloom"},\n"images": [')
            _write_items(file, (line["image"] for line in _lines(pieces, split)))
            file.write('],\n"annotations": [')
            _write_items(file, _annotations(pieces, split))
            file.write('],\n"categories": [')
            _write_items(file, ({"id": c.value, "name": c.name} for c in spec.object_classes))
            file.write("]}\n")
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}. Make room, or choose another folder."
        ) from error


def _write_items(file: Any, items: Iterable[Any]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "\n") + json.dumps(item, ensure_ascii=False))


def _lines(pieces: Sequence[Path], split: str) -> Iterable[dict[str, Any]]:
    for piece in pieces:
        for text in _text(piece).splitlines():
            line = json.loads(text)
            if line["split"] == split:
                yield line


def _annotations(pieces: Sequence[Path], split: str) -> Iterable[dict[str, Any]]:
    number = 0
    for line in _lines(pieces, split):
        for one in line["annotations"]:
            number += 1
            yield {"id": number, "image_id": line["image"]["id"], **one}


def _text(path: Path) -> str:
    return path.read_text("utf-8")


def annotation_files(root: Path) -> list[Path]:
    """The JSON files of a folder that may list COCO's objects."""
    found = sorted((root / "annotations").glob("*.json")) + sorted(root.glob("*.json"))
    named = [path for path in found if path.name.startswith("instances")]
    return named or [path for path in found if not path.name.startswith(("esri_", "rasterloom_"))]


def _documents(root: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    paths = annotation_files(root)
    if not paths:
        raise StoreError(f"{root} has no annotations/instances*.json.")
    for path in paths:
        try:
            document = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}. Restore it.") from error
        parts = ("images", "annotations", "categories")
        if not isinstance(document, dict) or not all(isinstance(document.get(p), list) for p in parts):
            if len(paths) > 1:
                continue
            raise StoreError(f"{path} is no COCO file of objects: it lacks {', '.join(parts)}.")
        yield path, document


def _split_of(path: Path) -> str:
    return next((split for split in SPLITS[1:] if split in path.stem.lower()), "")


def _shift(categories: Any) -> int:
    """1 where a category is numbered 0, which here stands for no class."""
    return int(0 in categories)


def _place(root: Path, known: Listing, name: str, split: str) -> str | None:
    """Where an image lies, relative to the folder."""
    inside(root, name)
    for folder in ("images/", "", f"images/{split}/", f"{split}/", f"{split}2017/", f"images/{split}2017/"):
        if known.has(folder + name):
            return folder + name
    return None


def _runs(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Runs along the rows of an image, of polygons or run lengths."""
    if isinstance(segmentation, list):
        return _polygon_runs(segmentation, size)
    if list(segmentation["size"]) != list(size):
        raise ValueError(f"its mask is {segmentation['size']}, its image {list(size)}")
    counts = segmentation["counts"]
    mask = to_mask(from_text(counts) if isinstance(counts, str) else counts, size)
    flat = np.flatnonzero(np.diff(mask.reshape(-1).astype(np.int8), prepend=0, append=0))
    return flat.reshape(-1, 2).astype(np.int32)


def _polygon_runs(rings: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    height, width = size
    parts = []
    for ring in rings:
        points = np.asarray(ring, np.float64).reshape(-1, 2)
        if len(points) >= 3:
            parts.append(shapely.polygons(points * (1.0, -1.0)))
    # rows count downwards, so the ground of these pixels has y = -row
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), height, width)
    if not parts:
        return np.zeros((0, 2), np.int32)
    runs = runs_of(np.array(parts), grid, Window(0, 0, height, width))
    start, stop = runs.row * width + runs.start, runs.row * width + runs.stop
    _, joined = united(np.zeros(len(start), np.int64), start, stop, 1)
    return joined.astype(np.int32)
