"""Some chips as a torch data set that reads whole batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from rasterloom.pipeline.datasets.classes import ClassTable
from rasterloom.pipeline.datasets.sources import ChipSource
from rasterloom.pipeline.labels.objects import Objects

_PRESENCE_BLOCK = 256
"""Chips whose labels are looked at together: one shard of a store."""


@dataclass(frozen=True, eq=False)
class RawBatch:
    """Some chips as they are stored, classes as positions among the network's outputs."""

    images: np.ndarray
    """(n, C, H, W), the chips' pixel type and units."""
    places: np.ndarray
    """(n,) positions in the data set."""
    limits: np.ndarray
    """(n, 2) height and width of what each chip holds; the rest is zeros."""
    frames: np.ndarray
    """(n, 2) height and width of the chips of the store each is from: outlines count along their rows."""
    masks: np.ndarray | None = None
    """(n, H, W) position of each pixel's class; 0 is background."""
    images2: np.ndarray | None = None
    """(n, C2, H, W) second images."""
    limits2: np.ndarray | None = None
    """As ``limits``, of second images that show other ground; None where they show the same."""
    objects: Objects | None = None
    """``values`` are positions, 1 and more."""
    labels: np.ndarray | None = None
    """(n,) position of each chip's class, or (n, K) whether each class occurs."""

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Chips(Dataset):
    """Some chips of a source, in a fixed order."""

    source: ChipSource
    indices: np.ndarray
    """(n,) positions in the source."""
    bands: tuple[int, ...]
    """0-based positions of the bands that are used."""
    parts: frozenset[str] = frozenset()
    """What is read besides images: ``masks``, ``images2``, ``objects``, ``labels``."""
    table: ClassTable | None = None
    """Positions of the class values of masks or labels."""
    object_table: ClassTable | None = None
    """Positions of the class values of objects."""
    bands2: tuple[int, ...] = ()
    """0-based positions of the bands of the second images that are used."""
    other: "Chips | None" = None
    """Chips of other ground, whose images come as second images."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: Any) -> RawBatch:
        """A batch of one chip; of a pair of positions where there are two sets of chips."""
        return self.__getitems__([position])

    def __getitems__(self, positions: Sequence[Any]) -> RawBatch:
        """Several chips with one read of the source; this name is torch's protocol for it."""
        if self.other is not None:
            return self._unpaired(np.asarray(positions, np.int64).reshape(-1, 2))
        places = np.asarray(positions, np.int64)
        read = self.source.read(self.indices[places], self.parts)
        return RawBatch(
            images=_chosen(read.images, self.bands),
            places=places,
            limits=read.limits,
            frames=read.frames,
            masks=None if read.masks is None else self._lookup.take(read.masks),
            images2=None if read.images2 is None else _chosen(read.images2, self.bands2),
            objects=None if read.objects is None else self._objects(read.objects),
            labels=None if read.labels is None else self._labels(read.labels),
        )

    def presence(self) -> np.ndarray:
        """(n, k) whether each value of the labels occurs in each chip, before positions are given.

        The columns are the values of the table of masks or labels, and those of objects after them.
        """
        tables = {"masks": self.table, "labels": self.table, "objects": self.object_table}
        read = [(part, table) for part, table in tables.items() if part in self.parts and table is not None]
        found = np.zeros((len(self), sum(len(table.values) for _, table in read)), bool)
        for start in range(0, len(self), _PRESENCE_BLOCK):
            rows = np.arange(start, min(start + _PRESENCE_BLOCK, len(self)))
            found[rows] = np.concatenate(
                [
                    _presence(self.source.labelled(self.indices[rows], part), table.values)
                    for part, table in read
                ],
                axis=1,
            )
        return found

    def object_sizes(self) -> np.ndarray:
        """(m, 2) width and height of the objects that are trained on, in pixels of their chips; none without
        objects."""
        sizes = [np.zeros((0, 2), np.float32)]
        if "objects" in self.parts:
            for start in range(0, len(self), _PRESENCE_BLOCK):
                found = self.source.labelled(self.indices[start : start + _PRESENCE_BLOCK], "objects")
                boxes = self._objects(found).boxes
                sizes.append(boxes[:, 2:] - boxes[:, :2])
        return np.concatenate(sizes)

    def wanted(self, presence: np.ndarray) -> np.ndarray:
        """(n,) whether a chip holds a class of interest."""
        interest = np.concatenate(
            [table.interest for table in (self.table, self.object_table) if table is not None]
        )
        return np.asarray(presence[:, interest].any(axis=1))

    def labelled(self, presence: np.ndarray) -> np.ndarray:
        """(n,) whether a chip is of a class that is trained on."""
        assert self.table is not None
        return np.asarray(presence[:, self.table.positions >= 0].any(axis=1))

    @cached_property
    def _lookup(self) -> np.ndarray:
        assert self.table is not None
        return self.table.lookup

    def _objects(self, objects: Objects) -> Objects:
        assert self.object_table is not None
        positions = self.object_table.of(objects.values)
        kept = positions >= 0
        return replace(objects.kept(kept), values=positions[kept])

    def _labels(self, labels: np.ndarray) -> np.ndarray:
        assert self.table is not None
        return self.table.of(labels) if labels.ndim == 1 else self.table.of_columns(labels)

    def _unpaired(self, pairs: np.ndarray) -> RawBatch:
        assert self.other is not None
        read = self.source.read(self.indices[pairs[:, 0]], ())
        other = self.other.source.read(self.other.indices[pairs[:, 1]], ())
        return RawBatch(
            images=_chosen(read.images, self.bands),
            places=pairs[:, 0],
            limits=read.limits,
            frames=read.frames,
            images2=_chosen(other.images, self.bands2),
            limits2=other.limits,
        )


def _chosen(images: np.ndarray, bands: tuple[int, ...]) -> np.ndarray:
    return images if bands == tuple(range(images.shape[1])) else images[:, list(bands)]


def _presence(read: Any, values: np.ndarray) -> np.ndarray:
    """(n, k) whether each value occurs in masks (n, H, W), labels (n,) or (n, k), or objects."""
    if isinstance(read, Objects):
        chips = np.repeat(np.arange(len(read.counts)), read.counts)
        found = np.zeros((len(read.counts), len(values)), bool)
        place = np.searchsorted(values, read.values).clip(max=len(values) - 1)
        known = values[place] == read.values
        found[chips[known], place[known]] = True
        return found
    if read.ndim == 2:
        return read > 0
    return np.stack([np.isin(values, chip) for chip in read])
