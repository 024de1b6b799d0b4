"""Small generated chips of every kind, and stores of them."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from rasterloom.models.contract import ClassInfo, Task
from rasterloom.pipeline.labels.objects import Objects, objects_from_masks
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.kinds import kind_of
from rasterloom.pipeline.store.layout import StoreSpec
from rasterloom.pipeline.store.tally import label_stats
from rasterloom.pipeline.store.write import ChipWriter

CLASSES = (ClassInfo(1, "wood", (0, 90, 0)), ClassInfo(2, "lake", (0, 0, 200)))


def make_spec(
    chips: int,
    *,
    metadata_format: str = "Classified_Tiles",
    dtype: str = "uint8",
    bands: int = 3,
    bands2: int = 0,
    tile: tuple[int, int] = (16, 24),
    classes: tuple[ClassInfo, ...] = CLASSES,
) -> StoreSpec:
    """A description of a store with two classes."""
    kind = kind_of(metadata_format)
    return StoreSpec(
        task=Task.PIXELS if metadata_format == "Classified_Tiles" else kind.task,
        chips=chips,
        bands=tuple(f"band {number}" for number in range(bands)),
        dtype=dtype,
        nodata=None,
        crs="EPSG:32633",
        cell_size=(1.0, 1.0),
        tile=tile,
        stride=tile,
        classes=classes,
        sources=("scene.tif",),
        mask_dtype="uint8" if kind.masks else "",
        parameters={"start_index": 0},
        metadata_format=metadata_format,
        bands2=tuple(f"later {number}" for number in range(bands2)),
        dtype2="uint16" if bands2 else "",
        instance_classes=(CLASSES[0],) if metadata_format == "Panoptic_Segmentation" else (),
    )


def make_block(spec: StoreSpec, start: int, stop: int, *, seed: int = 0) -> ChipBlock:
    """Chips of random pixels; every third chip holds nothing but zeros, and no objects.

    Chip i is the same whatever the range it is made in.
    """
    if start == stop:
        return _no_chips(spec)
    return ChipBlock.joined([_chip(spec, number, seed) for number in range(start, stop)])


def _chip(spec: StoreSpec, number: int, seed: int) -> ChipBlock:
    generator = np.random.default_rng((seed, number))
    empty = number % 3 == 2
    kind = spec.kind

    def pixels(below: int, bands: Sequence[str], dtype: str) -> np.ndarray:
        shape = (1, len(bands), *spec.tile)
        return np.zeros(shape, dtype) if empty else generator.integers(0, below, shape, "int8").astype(dtype)

    labels = None
    if kind.several_labels:
        labels = generator.integers(0, 2, (1, len(spec.classes)), "uint8")
    elif kind.labels:
        labels = generator.choice([c.value for c in spec.classes], 1)
    return ChipBlock(
        images=pixels(120, spec.bands, spec.dtype),
        masks=pixels(3, ("mask",), spec.mask_dtype)[:, 0] if kind.masks else None,
        images2=pixels(120, spec.bands2, spec.dtype2) if spec.bands2 else None,
        objects=make_objects(spec, generator, 0 if empty else number % 5) if kind.objects else None,
        labels=labels,
        transforms=generator.uniform(0, 1, (1, 6)),
        windows=generator.integers(0, 1000, (1, 4)),
        source=np.zeros(1, np.int32),
        rotation=np.full(1, 45 * (number % 2), np.float32),
        split=np.full(1, number % 4, np.uint8),
        numbers=np.full(1, 2 * number, np.int64),
    )


def make_objects(spec: StoreSpec, generator: np.random.Generator, count: int) -> Objects:
    """Objects of one chip that may overlap: boxes, and their outlines where chips of the format have them."""
    if not count:
        return Objects.none(1, outlines=spec.kind.outlines)
    values = generator.choice([c.value for c in spec.object_classes], count).astype(np.int64)
    masks = np.zeros((count, *spec.tile), bool)
    boxes = np.zeros((count, 4), np.float32)
    for mask, box in zip(masks, boxes, strict=True):
        top, left = (int(generator.integers(0, side - 4)) for side in spec.tile)
        bottom = int(generator.integers(top + 2, spec.tile[0] + 1))
        right = int(generator.integers(left + 2, spec.tile[1] + 1))
        mask[top:bottom, left:right] = generator.integers(0, 2, (bottom - top, right - left)) == 1
        mask[top, left] = True
        box[:] = left, top, right, bottom
    outlined = objects_from_masks(masks, values)
    return Objects(
        counts=np.array([count]),
        boxes=boxes,
        values=values,
        shares=generator.uniform(0.1, 1, count).astype(np.float32),
        areas=generator.uniform(1, 500, count),
        features=generator.integers(-1, 900, count),
        run_counts=outlined.run_counts if spec.kind.outlines else None,
        runs=outlined.runs if spec.kind.outlines else None,
    )


def write_store(
    path: Path,
    spec: StoreSpec,
    *,
    shard: int | None = None,
    backwards: bool = False,
    seed: int = 0,
) -> list[ChipBlock]:
    """Write a whole store and return its blocks in order."""
    writer = ChipWriter.create(path, spec, shard=shard)
    starts = list(range(0, spec.chips, writer.shard))
    blocks = [make_block(spec, start, min(start + writer.shard, spec.chips), seed=seed) for start in starts]
    for start, block in sorted(zip(starts, blocks, strict=True), key=lambda p: p[0], reverse=backwards):
        writer.write(start, block)
    finish(writer, blocks)
    return blocks


def finish(writer: ChipWriter, blocks: Sequence[ChipBlock]) -> None:
    """Complete a store with the statistics of its chips."""
    whole = ChipBlock.joined(blocks)
    stats2 = None if whole.images2 is None else band_stats(whole.images2)
    writer.finish(band_stats(whole.images), label_stats(whole, writer.spec), stats2)


def band_stats(images: np.ndarray) -> BandStats:
    """Statistics of all pixels of images (n, C, H, W)."""
    pixels = images.swapaxes(0, 1)
    return BandStats.of(pixels, np.ones(pixels.shape[1:], bool))


def assert_same(first: ChipBlock | Objects, second: ChipBlock | Objects) -> None:
    """Two blocks, or the objects of two, hold exactly the same."""
    for field in fields(first):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if isinstance(ours, Objects):
            assert_same(ours, theirs)
            continue
        assert (ours is None) == (theirs is None), field.name
        if ours is not None:
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)


def _no_chips(spec: StoreSpec) -> ChipBlock:
    return make_block(spec, 0, 1).of([])
