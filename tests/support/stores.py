"""Small generated chip stores."""

from pathlib import Path

import numpy as np

from rasterloom.models.contract import ClassInfo, Task
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.layout import StoreSpec
from rasterloom.pipeline.store.write import ChipBlock, ChipWriter


def make_spec(
    chips: int, *, dtype: str = "uint8", bands: int = 3, tile: tuple[int, int] = (16, 24)
) -> StoreSpec:
    """A description of a store with two classes."""
    return StoreSpec(
        task=Task.PIXELS,
        chips=chips,
        bands=tuple(f"band {number}" for number in range(bands)),
        dtype=dtype,
        nodata=None,
        crs="EPSG:32633",
        cell_size=(1.0, 1.0),
        tile=tile,
        stride=tile,
        classes=(ClassInfo(1, "wood", (0, 90, 0)), ClassInfo(2, "lake", (0, 0, 200))),
        sources=("scene.tif",),
        mask_dtype="uint8",
        parameters={"start_index": 0},
    )


def make_block(spec: StoreSpec, start: int, stop: int, *, seed: int = 0) -> ChipBlock:
    """Chips of random pixels; every third chip holds nothing but zeros."""
    generator = np.random.default_rng((seed, start))
    count = stop - start
    images = generator.integers(0, 120, (count, len(spec.bands), *spec.tile), "int8").astype(spec.dtype)
    masks = generator.integers(0, 3, (count, *spec.tile), "int8").astype(spec.mask_dtype)
    empty = np.arange(start, stop) % 3 == 2
    images[empty], masks[empty] = 0, 0
    return ChipBlock(
        images=images,
        masks=masks,
        transforms=generator.uniform(0, 1, (count, 6)),
        windows=generator.integers(0, 1000, (count, 4)),
        source=np.zeros(count, np.int32),
        rotation=np.zeros(count, np.float32),
        split=(np.arange(start, stop) % 4).astype(np.uint8),
    )


def write_store(
    path: Path, spec: StoreSpec, *, shard: int | None = None, backwards: bool = False
) -> list[ChipBlock]:
    """Write a whole store and return its blocks in order."""
    writer = ChipWriter.create(path, spec, shard=shard)
    starts = list(range(0, spec.chips, writer.shard))
    blocks = [make_block(spec, start, min(start + writer.shard, spec.chips)) for start in starts]
    for start, block in sorted(zip(starts, blocks, strict=True), key=lambda p: p[0], reverse=backwards):
        writer.write(start, block)
    masks = np.concatenate([block.masks for block in blocks])
    values, counts = np.unique(masks, return_counts=True)
    pixels = np.concatenate([block.images for block in blocks]).swapaxes(0, 1)
    stats = BandStats.of(pixels, np.ones(pixels.shape[1:], bool))
    writer.finish(stats, dict(zip(values.tolist(), counts.tolist(), strict=True)))
    return blocks
