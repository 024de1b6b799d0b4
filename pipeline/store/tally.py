"""Count what the labels of chips hold."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.rasters.statistics import value_counts
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats, Summary
from rasterloom.pipeline.store.layout import StoreSpec


def label_stats(block: ChipBlock, spec: StoreSpec) -> LabelStats:
    """Statistics of the labels of some chips, of those parts that chips of the format have.

    Parameters
    ----------
    block
        What lies beyond a chip's own size is not counted.
    spec
        Says which parts count, and which class each column of ``labels`` is of.
    """
    count = len(block)
    # (chip, class value) of all that occurs, as numbers that sort by chip
    found: list[tuple[np.ndarray, np.ndarray]] = []
    pixels: dict[int, Summary] = {}
    areas: dict[int, Summary] = {}
    objects_per_image = Summary()
    if spec.kind.masks and block.masks is not None:
        chips, values, counts = _pixel_counts(block)
        pixels = _summaries(values, counts)
        found.append((chips, values))
    if spec.kind.objects and block.objects is not None:
        areas = _summaries(block.objects.values, block.objects.areas)
        objects_per_image = Summary.of(block.objects.counts)
        found.append((_chip_of_object(block.objects), np.asarray(block.objects.values)))
    if spec.kind.labels and block.labels is not None:
        found.append(_of_labels(block.labels, spec))
    present = _present(found)
    per_chip = np.bincount(present[present[:, 1] != 0, 0], minlength=count)[:count]
    values, images = np.unique(present[:, 1], return_counts=True)
    return LabelStats(
        chips=count,
        pixels=pixels,
        areas=areas,
        images=dict(zip(values.tolist(), images.tolist(), strict=True)),
        classes_per_image=Summary.of(per_chip) if found else Summary(),
        objects_per_image=objects_per_image,
    )


def label_stats_of(read: Callable[[range], ChipBlock], spec: StoreSpec, chips: int) -> LabelStats:
    """Statistics of many chips, read one shard's worth at a time.

    Parameters
    ----------
    read
        Gives the chips of a range.
    chips
        How many there are.
    """
    total = LabelStats()
    for start in range(0, chips, spec.shard):
        total = total.merge(label_stats(read(range(start, min(start + spec.shard, chips))), spec))
    return total


def _pixel_counts(block: ChipBlock) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chip, class value and number of pixels, wherever a chip has pixels of a value."""
    assert block.masks is not None
    chips, values, counts = [], [], []
    for chip, (mask, (height, width)) in enumerate(zip(block.masks, block.known_sizes.tolist(), strict=True)):
        times = value_counts(mask[:height, :width])
        present = np.flatnonzero(times)
        chips.append(np.full(len(present), chip, np.int64))
        values.append(present)
        counts.append(times[present])
    return _concatenated(chips), _concatenated(values), _concatenated(counts)


def _concatenated(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _summaries(values: np.ndarray, numbers: np.ndarray) -> dict[int, Summary]:
    """Summary of the numbers that belong to each value, in the order they came."""
    return {int(value): Summary.of(numbers[values == value]) for value in np.unique(values)}


def _chip_of_object(objects: Objects) -> np.ndarray:
    return np.repeat(np.arange(len(objects.counts)), objects.counts)


def _of_labels(labels: np.ndarray, spec: StoreSpec) -> tuple[np.ndarray, np.ndarray]:
    if not spec.kind.several_labels:
        return np.arange(len(labels)), np.asarray(labels, np.int64)
    chips, columns = np.nonzero(labels)
    return chips, np.array([c.value for c in spec.classes], np.int64)[columns]


def _present(found: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(n, 2) chip and class value of all that occurs, each pair once."""
    pairs: list[Any] = [np.stack([chips, values], axis=1).astype(np.int64) for chips, values in found]
    return np.unique(np.concatenate(pairs), axis=0) if pairs else np.zeros((0, 2), np.int64)
