"""Tiny chip stores made from arrays, the same for the same seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats
from rasterloom.pipeline.store.kinds import kind_of
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec
from rasterloom.pipeline.store.tally import label_stats
from rasterloom.pipeline.store.write import ChipWriter

CLASSES = (ClassInfo(1, "field", (200, 180, 60)), ClassInfo(5, "water", (30, 90, 200)))
COUNT = 12
"""Chips of the store of each kind."""
THINGS = (ClassInfo(2, "house", (220, 60, 40)), ClassInfo(7, "tree", (40, 160, 60)))


def write_store(
    path: Path,
    images: np.ndarray,
    masks: np.ndarray | None = None,
    *,
    metadata_format: str = "Classified_Tiles",
    bands: tuple[str, ...] | None = None,
    classes: tuple[ClassInfo, ...] = CLASSES,
    split: tuple[str, ...] = (),
    parameters: dict | None = None,
    images2: np.ndarray | None = None,
    bands2: tuple[str, ...] | None = None,
    objects: Objects | None = None,
    labels: np.ndarray | None = None,
    sizes: np.ndarray | None = None,
    instance_classes: tuple[ClassInfo, ...] = (),
) -> Path:
    """Write images (N, C, H, W) and what is known of them as a chip store."""
    count, band_count, height, width = images.shape
    kind = kind_of(metadata_format)
    second = () if images2 is None else tuple(f"second_{i + 1}" for i in range(images2.shape[1]))
    spec = StoreSpec(
        task=kind.task,
        chips=count,
        bands=bands or tuple(f"band_{i + 1}" for i in range(band_count)),
        dtype=str(images.dtype),
        nodata=None,
        crs="EPSG:32633",
        cell_size=(0.5, 0.5),
        tile=(height, width),
        stride=(height, width),
        classes=classes,
        sources=("generated",),
        mask_dtype="" if masks is None else str(masks.dtype),
        parameters=parameters or {},
        metadata_format=metadata_format,
        bands2=bands2 or second,
        dtype2="" if images2 is None else str(images2.dtype),
        instance_classes=instance_classes,
    )
    writer = ChipWriter.create(path, spec)
    codes = np.array([SPLITS.index(name) for name in split] or [0] * count, np.uint8)
    total = LabelStats()
    for start in range(0, count, writer.shard):
        part = slice(start, min(start + writer.shard, count))
        size = part.stop - start
        block = ChipBlock(
            images=images[part],
            masks=None if masks is None else masks[part],
            images2=None if images2 is None else images2[part],
            objects=None if objects is None else objects.of(np.arange(count)[part]),
            labels=None if labels is None else labels[part],
            sizes=None if sizes is None else sizes[part],
            transforms=np.tile([0.5, 0, 0, 0, -0.5, 0], (size, 1)),
            windows=np.zeros((size, 4), np.int64),
            source=np.zeros(size, np.int32),
            rotation=np.zeros(size, np.float32),
            split=codes[part],
            numbers=np.arange(count, dtype=np.int64)[part],
        )
        writer.write(start, block)
        total = total.merge(label_stats(block, spec))
    writer.finish(_stats(images), total, None if images2 is None else _stats(images2))
    return path


def bounds(mask: np.ndarray) -> list[int]:
    """The box xyxy around the pixels of a mask."""
    rows, cols = np.nonzero(mask)
    return [int(side) for side in (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)]


def boxed_objects(boxes: Sequence[Sequence[Sequence[float]]], values: Sequence[Sequence[int]]) -> Objects:
    """Objects of which only boxes are known: for each chip its boxes xyxy and class values."""
    counts = np.array([len(chip) for chip in boxes], np.int64)
    flat = np.array([box for chip in boxes for box in chip], np.float32).reshape(-1, 4)
    return Objects(
        counts=counts,
        boxes=flat,
        values=np.array([value for chip in values for value in chip], np.int64),
        shares=np.ones(len(flat), np.float32),
        areas=(flat[:, 2:] - flat[:, :2]).prod(axis=1).astype(np.float64),
        features=np.arange(len(flat), dtype=np.int64),
    )


def outlined_objects(masks: Sequence[np.ndarray], values: Sequence[Sequence[int]]) -> Objects:
    """Objects with outlines: for each chip masks (k, H, W) and class values."""
    boxes, run_counts, runs = [], [], []
    for chip in masks:
        for mask in chip:
            boxes.append(bounds(mask))
            flat = np.flatnonzero(np.diff(np.concatenate([[0], mask.reshape(-1).astype(np.int8), [0]])))
            run_counts.append(len(flat) // 2)
            runs.append(flat.reshape(-1, 2))
    flat = np.array(boxes, np.float32).reshape(-1, 4)
    return Objects(
        counts=np.array([len(chip) for chip in masks], np.int64),
        boxes=flat,
        values=np.array([value for chip in values for value in chip], np.int64),
        shares=np.ones(len(flat), np.float32),
        areas=np.ones(len(flat)),
        features=np.full(len(flat), -1),
        run_counts=np.array(run_counts, np.int64),
        runs=np.concatenate([*runs, np.zeros((0, 2))]).astype(np.int32),
    )


def toy_chips(
    count: int = 24, *, bands: int = 4, side: int = 32, dtype: str = "uint8", seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Chips in which the class shows in the bands: a bright square is 1, a dark one 5, the ground 0."""
    rng = np.random.default_rng(seed)
    images = rng.normal(120, 12, (count, bands, side, side))
    masks = np.zeros((count, side, side), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        for value, shift in ((1, 60.0), (5, -60.0)):
            size = int(rng.integers(side // 3, side // 2))
            row, col = rng.integers(0, side - size, 2)
            mask[row : row + size, col : col + size] = value
            image[:, row : row + size, col : col + size] = 120 + shift
    images += rng.normal(0, 6, images.shape)
    return images.clip(0, 255).astype(dtype), masks


def numbered_chips(count: int, *, side: int = 8, bands: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Chips that tell who they are: chip i is filled with i, its mask is 1 in odd chips and else 5."""
    images = np.empty((count, bands, side, side), np.uint8)
    images[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    masks = np.empty((count, side, side), np.uint8)
    masks[:] = np.where(np.arange(count) % 2, 1, 5).astype(np.uint8)[:, None, None]
    return images, masks


def square_chips(
    count: int, *, side: int = 40, seed: int = 0, bands: int = 3
) -> tuple[np.ndarray, list[np.ndarray], list[list[int]]]:
    """Dark chips with one to three bright squares each: images, outlines (k, H, W), class values 2 and 7.

    Square number k of a chip is filled with 100 + 50 * k, in every band; squares do not touch.
    """
    rng = np.random.default_rng(seed)
    images = np.full((count, bands, side, side), 10, np.uint8)
    outlines, values = [], []
    for image in images:
        masks = []
        for number in range(int(rng.integers(1, 4))):
            mask = np.zeros((side, side), bool)
            row, col = 1 + 13 * number, int(rng.integers(1, side - 14))
            size = int(rng.integers(6, 12))
            mask[row : row + size, col : col + size] = True
            image[:, mask] = 100 + 50 * number
            masks.append(mask)
        outlines.append(np.array(masks))
        values.append([2 if number % 2 else 7 for number in range(len(masks))])
    return images, outlines, values


def _stats(images: np.ndarray) -> BandStats:
    pixel_rows = np.moveaxis(images, 1, 0)
    return BandStats.of(pixel_rows, np.ones(pixel_rows.shape[1:], bool))
