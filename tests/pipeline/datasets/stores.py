"""Tiny chip stores made from arrays, the same for the same seed."""

from pathlib import Path

import numpy as np

from rasterloom.models.contract import ClassInfo, Task
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec
from rasterloom.pipeline.store.write import ChipBlock, ChipWriter

CLASSES = (ClassInfo(1, "field", (200, 180, 60)), ClassInfo(5, "water", (30, 90, 200)))


def write_store(
    path: Path,
    images: np.ndarray,
    masks: np.ndarray,
    *,
    bands: tuple[str, ...] | None = None,
    classes: tuple[ClassInfo, ...] = CLASSES,
    split: tuple[str, ...] = (),
    parameters: dict | None = None,
) -> Path:
    """Write images (N, C, H, W) and class values (N, H, W) as a chip store."""
    count, band_count, height, width = images.shape
    spec = StoreSpec(
        task=Task.PIXELS,
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
        mask_dtype=str(masks.dtype),
        parameters=parameters or {},
    )
    writer = ChipWriter.create(path, spec)
    codes = np.array([SPLITS.index(name) for name in split] or [0] * count, np.uint8)
    for start in range(0, count, writer.shard):
        part = slice(start, min(start + writer.shard, count))
        size = part.stop - start
        writer.write(
            start,
            ChipBlock(
                images=images[part],
                masks=masks[part],
                transforms=np.tile([0.5, 0, 0, 0, -0.5, 0], (size, 1)),
                windows=np.zeros((size, 4), np.int64),
                source=np.zeros(size, np.int32),
                rotation=np.zeros(size, np.float32),
                split=codes[part],
            ),
        )
    values, pixels = np.unique(masks, return_counts=True)
    pixel_rows = np.moveaxis(images, 1, 0)
    stats = BandStats.of(pixel_rows, np.ones(pixel_rows.shape[1:], bool))
    writer.finish(stats, dict(zip(values.tolist(), pixels.tolist(), strict=True)))
    return path


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
