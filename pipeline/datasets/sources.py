"""One or several chip stores or folders seen as one list of chips."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import MissingInputError, SettingError, StoreError
from rasterloom.pipeline.formats.contents import is_exported
from rasterloom.pipeline.formats.opening import open_chip_reader, open_pair
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import ChipReader, LabelStats
from rasterloom.pipeline.store.layout import StoreSpec


@dataclass(frozen=True, eq=False)
class Parts:
    """What was asked for of some chips, in the order asked for; the rest is None."""

    images: np.ndarray
    """(n, C, H, W); smaller chips are filled up with zeros at the right and bottom."""
    limits: np.ndarray
    """(n, 2) height and width of what each chip holds."""
    frames: np.ndarray
    """(n, 2) height and width of the chips of the store that each is from."""
    images2: np.ndarray | None = None
    masks: np.ndarray | None = None
    objects: Objects | None = None
    labels: np.ndarray | None = None
    """(n,) class values, or (n, K) whether each class of the source occurs."""


@dataclass(frozen=True)
class ChipSource:
    """Chips of several stores or folders behind one index: the first one's come first."""

    stores: tuple[ChipReader, ...]
    """At least one. They agree in what they hold, in bands and pixel type."""

    @property
    def spec(self) -> StoreSpec:
        """What the first store says; the stores agree in what training depends on."""
        spec: StoreSpec = self.stores[0].spec
        return spec

    @cached_property
    def starts(self) -> np.ndarray:
        """Index of each store's first chip, and the number of chips at the end."""
        return np.cumsum([0, *(len(store) for store in self.stores)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def tile(self) -> tuple[int, int]:
        """Height and width that every chip fits in."""
        height, width = np.max([store.spec.tile for store in self.stores], axis=0).tolist()
        return int(height), int(width)

    @cached_property
    def smallest(self) -> tuple[int, int]:
        """Height and width of the smallest store's chips."""
        height, width = np.min([store.spec.tile for store in self.stores], axis=0).tolist()
        return int(height), int(width)

    @cached_property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes of the masks or labels of all stores, in ascending value."""
        return _merged([store.spec.classes for store in self.stores])

    @cached_property
    def object_classes(self) -> tuple[ClassInfo, ...]:
        """Classes of the objects of all stores, in ascending value."""
        return _merged([store.spec.object_classes for store in self.stores])

    @cached_property
    def class_pixels(self) -> dict[int, int]:
        """Mask pixels of each class value over all chips."""
        counts: dict[int, int] = {}
        for store in self.stores:
            for value, pixels in store.class_pixels.items():
                counts[int(value)] = counts.get(int(value), 0) + int(pixels)
        return dict(sorted(counts.items()))

    @cached_property
    def stats(self) -> BandStats:
        """Statistics of each band over all chips."""
        total: BandStats = self.stores[0].stats
        for store in self.stores[1:]:
            total = total.merge(store.stats)
        return total

    @cached_property
    def stats2(self) -> BandStats | None:
        """Statistics of each band of the second images; None where there are none."""
        total: BandStats | None = self.stores[0].stats2
        for store in self.stores[1:]:
            total = total.merge(store.stats2) if total is not None and store.stats2 is not None else None
        return total

    @cached_property
    def label_stats(self) -> LabelStats:
        """What the labels of all chips hold."""
        total = self.stores[0].label_stats
        for store in self.stores[1:]:
            total = total.merge(store.label_stats)
        return total

    @cached_property
    def split(self) -> np.ndarray:
        """(N,) text: the part that the store gives each chip to, such as ``train`` or ``val``."""
        return np.concatenate([np.asarray(store.split).astype(str) for store in self.stores])

    def read(self, indices: np.ndarray, parts: Collection[str]) -> Parts:
        """Images and the named parts (``masks``, ``images2``, ``objects``, ``labels``) of some chips.

        One read for each store and part; chips may repeat and come in any order.
        """
        indices = np.asarray(indices, np.int64)
        if len(self.stores) == 1:
            return self._of_store(0, indices, parts)
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        numbers = np.unique(owner)
        places = [np.flatnonzero(owner == number) for number in numbers]
        read = [
            self._of_store(int(number), indices[chosen] - self.starts[number], parts)
            for number, chosen in zip(numbers, places, strict=True)
        ]
        order = np.argsort(np.concatenate(places), kind="stable") if places else np.zeros(0, np.int64)
        return Parts(
            **{
                name: _together([getattr(part, name) for part in read], order)
                for name in Parts.__dataclass_fields__
            }
        )

    def labelled(self, indices: np.ndarray, part: str) -> Any:
        """One part of some chips without their images."""
        indices = np.asarray(indices, np.int64)
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        numbers = np.unique(owner)
        places = [np.flatnonzero(owner == number) for number in numbers]
        read = [
            self._part(int(number), indices[chosen] - self.starts[number], part)
            for number, chosen in zip(numbers, places, strict=True)
        ]
        return _together(read, np.argsort(np.concatenate(places), kind="stable"))

    def _of_store(self, number: int, indices: np.ndarray, parts: Collection[str]) -> Parts:
        store = self.stores[number]
        # whatever a chip has comes in one go: a folder opens each file once, a store reads few arrays
        block = store.block(indices)
        own = {part: getattr(block, part) for part in parts}
        if own.get("labels") is not None:
            own["labels"] = self._columns(number, own["labels"])
        frames = np.tile(np.array(store.spec.tile, np.int64), (len(indices), 1))
        return Parts(block.images, np.asarray(block.known_sizes, np.int64), frames, **own)

    def _part(self, number: int, indices: np.ndarray, part: str) -> Any:
        read = getattr(self.stores[number], part)(indices)
        return self._columns(number, read) if part == "labels" else read

    def _columns(self, number: int, labels: np.ndarray) -> np.ndarray:
        """Labels with one column for each class of one store, as columns for the classes of all stores."""
        if labels.ndim == 1:
            return labels
        place = {c.value: column for column, c in enumerate(self.classes)}
        spread = np.zeros((len(labels), len(self.classes)), labels.dtype)
        spread[:, [place[c.value] for c in self.stores[number].spec.classes]] = labels
        return spread


def open_chips(path: str | Path | Sequence[str | Path], dataset_type: str | None = None) -> ChipSource:
    """Open chip stores and folders as one list of chips.

    Parameters
    ----------
    dataset_type
        Format of a folder that does not tell it by itself.

    Raises
    ------
    MissingInputError
        If a path does not exist.
    StoreError
        If a path holds no chips, or the chips cannot be trained on together.
    """
    paths = _existing(path)
    source = ChipSource(tuple(_reader(one, dataset_type) for one in paths))
    _check_together(paths, source)
    return source


def open_unpaired(path: str | Path | Sequence[str | Path]) -> tuple[ChipSource, ChipSource]:
    """Open folders that hold two sets of chips, ``A`` and ``B``; errors as for :func:`open_chips`."""
    paths = _existing(path)
    pairs = [open_pair(one) for one in paths]
    first, second = (ChipSource(tuple(pair[side] for pair in pairs)) for side in (0, 1))
    for source in (first, second):
        _check_together(paths, source)
    return first, second


def _reader(path: str | Path, dataset_type: str | None) -> ChipReader:
    # a folder that says its own format may be asked for less than it holds
    told = "://" not in str(path) and is_exported(Path(path))
    return open_chip_reader(path, None if told else dataset_type)


def _existing(path: str | Path | Sequence[str | Path]) -> list[str | Path]:
    paths: list[str | Path] = [path] if isinstance(path, (str, Path)) else list(path)
    if not paths:
        raise SettingError("path is an empty list: give at least one chip store or folder.")
    for one in paths:
        if "://" not in str(one) and not Path(one).exists():
            raise MissingInputError(
                f"there are no chips at {one}: make them with export_training_data, or correct the path."
            )
    return paths


def _check_together(paths: Sequence[str | Path], source: ChipSource) -> None:
    first = source.stores[0].spec
    for one, store in zip(paths[1:], source.stores[1:], strict=True):
        for what in ("metadata_format", "bands", "dtype", "bands2", "dtype2"):
            ours, theirs = getattr(first, what), getattr(store.spec, what)
            if ours != theirs:
                raise StoreError(
                    f"{paths[0]} has {what} {ours} and {one} has {what} {theirs}: "
                    "train on chips that agree, or export them with the same settings."
                )
        for kind in ("classes", "instance_classes"):
            names = {c.value: c.name for c in getattr(first, kind)}
            for c in getattr(store.spec, kind):
                if names.get(c.value, c.name) != c.name:
                    raise StoreError(
                        f"class {c.value} is '{names[c.value]}' in {paths[0]} and '{c.name}' in {one}: "
                        "export them with the same class field."
                    )


def _merged(several: Sequence[tuple[ClassInfo, ...]]) -> tuple[ClassInfo, ...]:
    merged = {c.value: c for classes in reversed(several) for c in classes}
    return tuple(merged[value] for value in sorted(merged))


def _together(parts: list[Any], order: np.ndarray) -> Any:
    """Parts of several stores as one, in the order that was asked for."""
    if any(part is None for part in parts):
        return None
    if isinstance(parts[0], Objects):
        return Objects.joined(parts).of(order)
    inner = [part.shape[1:] for part in parts]
    shape = tuple(max(sides) for sides in zip(*inner, strict=True))
    joined = np.zeros((len(order), *shape), np.result_type(*parts))
    start = 0
    for part in parts:
        joined[(slice(start, start + len(part)), *(slice(side) for side in part.shape[1:]))] = part
        start += len(part)
    return joined[order]
