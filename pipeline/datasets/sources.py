"""One or several chip stores seen as one list of chips."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import MissingInputError, SettingError, StoreError
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.layout import StoreSpec
from rasterloom.pipeline.store.read import ChipStore


@dataclass(frozen=True)
class ChipSource:
    """Chips of several stores behind one index: the first store's come first."""

    stores: tuple[ChipStore, ...]
    """At least one. They agree in task, bands, pixel type and chip size."""

    @property
    def spec(self) -> StoreSpec:
        """What the first store says; the stores agree in what training depends on."""
        return self.stores[0].spec

    @cached_property
    def starts(self) -> np.ndarray:
        """Index of each store's first chip, and the number of chips at the end."""
        return np.cumsum([0, *(len(store) for store in self.stores)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes of all stores, in ascending value."""
        merged = {c.value: c for store in reversed(self.stores) for c in store.spec.classes}
        return tuple(merged[value] for value in sorted(merged))

    @cached_property
    def class_pixels(self) -> dict[int, int]:
        """Pixels of each class value over all chips."""
        counts: dict[int, int] = {}
        for store in self.stores:
            for value, pixels in store.class_pixels.items():
                counts[int(value)] = counts.get(int(value), 0) + int(pixels)
        return dict(sorted(counts.items()))

    @cached_property
    def stats(self) -> BandStats:
        """Statistics of each band over all chips."""
        total = self.stores[0].stats
        for store in self.stores[1:]:
            total = total.merge(store.stats)
        return total

    @cached_property
    def split(self) -> np.ndarray:
        """(N,) text: the part that the store gives each chip to, such as ``train`` or ``val``."""
        return np.concatenate([np.asarray(store.split).astype(str) for store in self.stores])

    def images(self, indices: np.ndarray) -> np.ndarray:
        """Images (n, C, H, W) of the chips, in the order asked for; one read for each store."""
        return self._gather("images", indices)

    def masks(self, indices: np.ndarray) -> np.ndarray:
        """Class values (n, H, W) of the chips, in the order asked for; one read for each store."""
        return self._gather("masks", indices)

    def _gather(self, what: str, indices: np.ndarray) -> np.ndarray:
        indices = np.asarray(indices, np.int64)
        if len(self.stores) == 1:
            return np.asarray(getattr(self.stores[0], what)(indices))
        owner = np.searchsorted(self.starts, indices, side="right") - 1
        parts = [
            (chosen, getattr(self.stores[number], what)(indices[chosen] - self.starts[number]))
            for number in range(len(self.stores))
            if (chosen := np.flatnonzero(owner == number)).size
        ]
        together = np.empty((len(indices), *parts[0][1].shape[1:]), np.result_type(*(p for _, p in parts)))
        for chosen, part in parts:
            together[chosen] = part
        return together


def open_chips(path: str | Path | Sequence[str | Path]) -> ChipSource:
    """Open one chip store or several as one list of chips.

    Raises
    ------
    MissingInputError
        If a path does not exist.
    StoreError
        If a path is no chip store, or the stores cannot be trained on together.
    """
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if not paths:
        raise SettingError("path is an empty list: give at least one chip store.")
    for one in paths:
        if "://" not in str(one) and not Path(one).exists():
            raise MissingInputError(
                f"there is no chip store at {one}: make one with export_training_data, or correct the path."
            )
    source = ChipSource(tuple(ChipStore(one) for one in paths))
    for one, store in zip(paths[1:], source.stores[1:], strict=True):
        _check_together(str(paths[0]), source.stores[0], str(one), store)
    return source


def _check_together(first_path: str, first: ChipStore, other_path: str, other: ChipStore) -> None:
    for what in ("task", "bands", "dtype", "tile"):
        ours, theirs = getattr(first.spec, what), getattr(other.spec, what)
        if ours != theirs:
            raise StoreError(
                f"{first_path} has {what} {ours} and {other_path} has {what} {theirs}: "
                "train on stores that agree, or export them with the same settings."
            )
    names = {c.value: c.name for c in first.spec.classes}
    for c in other.spec.classes:
        if names.get(c.value, c.name) != c.name:
            raise StoreError(
                f"class {c.value} is '{names[c.value]}' in {first_path} and '{c.name}' in {other_path}: "
                "export them with the same class field."
            )
