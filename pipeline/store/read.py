"""Read a chip store: its description at once, its pixels batch by batch."""

import json
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.errors import GroupNotFoundError

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.labels.outlines import expanded
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats, missing
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec, check_format, stats_from_json
from rasterloom.pipeline.store.shards import ShardedArray
from rasterloom.pipeline.store.tally import label_stats_of

SMALL = 32 * 2**20
"""Arrays of up to so many bytes, images and masks apart, are read once and then kept."""

Indices = Sequence[int] | np.ndarray


class ChipStore:
    """A chip store open for reading.

    Nothing is read before it is asked for, and only the path is pickled, so that every process opens
    its own handles.

    Parameters
    ----------
    path
        Folder of the store, or an fsspec URL.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)

    def __repr__(self) -> str:
        return f"ChipStore({self.path!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __len__(self) -> int:
        return self.spec.chips

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The group's attributes.

        Raises
        ------
        StoreError
            If the path is no chip store, or one of a newer format version.
        """
        attributes = self._local_attributes() if self.local else dict(self._group.attrs)
        try:
            check_format(attributes)
        except StoreError as error:
            raise StoreError(f"{self.path}: {error}") from error
        if "statistics" not in attributes:
            raise StoreError(
                f"{self.path} was never completed: its export was cut off. Run the same export again."
            )
        return attributes

    @cached_property
    def spec(self) -> StoreSpec:
        """Everything but the pixels."""
        return StoreSpec.from_json(self.attributes)

    @cached_property
    def stats(self) -> BandStats:
        """Statistics of each band over the valid pixels of all chips."""
        return stats_from_json(self.attributes["statistics"])

    @cached_property
    def stats2(self) -> BandStats | None:
        """The same of the second images; None where there are none."""
        plain = self.attributes.get("statistics2")
        return None if plain is None else stats_from_json(plain)

    @cached_property
    def label_stats(self) -> LabelStats:
        """What the labels of all chips hold; counted now in a store that was written without."""
        plain = self.attributes.get("label_statistics")
        return (
            label_stats_of(self.block, self.spec, len(self)) if plain is None else LabelStats.from_json(plain)
        )

    @cached_property
    def class_pixels(self) -> dict[int, int]:
        """Mask pixels of each class value over all chips; 0 counts the pixels of no class."""
        return {int(value): int(count) for value, count in self.attributes["class_pixels"].items()}

    def images(self, indices: Indices) -> np.ndarray:
        """Images (n, C, H, W) in the order asked for; negative indices count from the end.

        Raises
        ------
        IndexError
            If there is no such chip.
        StoreError
            If the pixels are damaged.
        """
        return self._pixels("images", self._chips(indices))

    def images2(self, indices: Indices) -> np.ndarray:
        """Images of the second raster (n, C2, H, W) in the order asked for.

        Raises
        ------
        StoreError
            If the chips have none. The same for the other parts.
        """
        self._check("second images", bool(self.spec.bands2))
        return self._pixels("images2", self._chips(indices))

    def masks(self, indices: Indices) -> np.ndarray:
        """Class values (n, H, W) in the order asked for; 0 where there is no class."""
        self._check("masks", self.spec.kind.masks)
        return self._pixels("masks", self._chips(indices))

    def labels(self, indices: Indices) -> np.ndarray:
        """Class value of each chip (n,) int64, or (n, K) uint8: whether each class occurs in it."""
        self._check("labels", self.spec.kind.labels)
        labels = self._rows("chip_labels", self._chips(indices))
        return labels if self.spec.kind.several_labels else labels.astype(np.int64)

    def objects(self, indices: Indices) -> Objects:
        """The objects of chips, in the order asked for."""
        self._check("objects", self.spec.kind.objects)
        chips = self._chips(indices)
        starts = self._box_offsets
        counts = starts[chips + 1] - starts[chips]
        rows = expanded(starts[chips], counts)
        run_counts, runs = self._runs(rows) if self.spec.kind.outlines else (None, None)
        return Objects(
            counts=counts,
            boxes=self._rows("boxes", rows),
            values=self._rows("box_labels", rows).astype(np.int64),
            shares=self._rows("box_shares", rows),
            areas=self._rows("box_areas", rows),
            features=self._rows("box_features", rows),
            run_counts=run_counts,
            runs=runs,
        )

    def block(self, indices: Indices) -> ChipBlock:
        """Everything that is known of some chips, in the order asked for."""
        chips = self._chips(indices)
        kind = self.spec.kind
        return ChipBlock(
            images=self.images(chips),
            masks=self.masks(chips) if kind.masks else None,
            images2=self.images2(chips) if self.spec.bands2 else None,
            objects=self.objects(chips) if kind.objects else None,
            labels=self.labels(chips) if kind.labels else None,
            transforms=self._rows("transform", chips),
            windows=self._rows("window", chips),
            source=self._rows("source", chips),
            rotation=self._rows("rotation", chips),
            split=self._rows("split", chips),
            numbers=self._rows("number", chips) if "number" in self._names else chips + self._first_number,
            sizes=self._sizes(chips),
        )

    @property
    def transforms(self) -> np.ndarray:
        """(N, 6) affine coefficients a, b, c, d, e, f of each chip."""
        return self._whole("transform")

    @property
    def windows(self) -> np.ndarray:
        """(N, 4) row, column, height and width of each chip on its source's grid."""
        return self._whole("window")

    @property
    def source(self) -> np.ndarray:
        """(N,) position of each chip's raster in ``spec.sources``."""
        return self._whole("source")

    @property
    def rotation(self) -> np.ndarray:
        """(N,) degrees that each chip is turned by."""
        return self._whole("rotation")

    @property
    def split(self) -> np.ndarray:
        """(N,) text: "train", "val", "test", or "" where the store leaves it open."""
        return np.array(SPLITS)[self._whole("split")]

    @property
    def numbers(self) -> np.ndarray:
        """(N,) number of each chip in the scan, ascending."""
        return self._whole("number") if "number" in self._names else np.arange(len(self)) + self._first_number

    @property
    def local(self) -> bool:
        """Whether the store is a folder of this machine."""
        return "://" not in self.path

    @property
    def _first_number(self) -> int:
        """Number of the first chip in a store that keeps no numbers."""
        return int(self.spec.parameters.get("start_index", 0))

    @cached_property
    def _group(self) -> Any:
        try:
            return zarr.open_group(self.path, mode="r", zarr_format=3)
        except (GroupNotFoundError, FileNotFoundError, ValueError) as error:
            raise StoreError(_no_store(self.path)) from error

    @cached_property
    def _names(self) -> frozenset[str]:
        """The arrays that are there."""
        return frozenset(self._group.array_keys())

    @cached_property
    def _opened(self) -> dict[str, ShardedArray | None]:
        return {}

    @cached_property
    def _kept(self) -> dict[str, np.ndarray]:
        """Small arrays that were read whole."""
        return {}

    def _sharded(self, name: str) -> ShardedArray | None:
        """The array, where its shards are read directly; None where zarr-python reads them."""
        if name not in self._opened:
            self._opened[name] = ShardedArray.open(Path(self.path) / name) if self.local else None
        return self._opened[name]

    def _local_attributes(self) -> dict[str, Any]:
        try:
            plain = json.loads((Path(self.path) / "zarr.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(_no_store(self.path)) from error
        return dict(plain.get("attributes", {})) if isinstance(plain, dict) else {}

    def _check(self, what: str, there: bool) -> None:
        if not there:
            raise missing(self.path, what, self.spec.metadata_format)

    def _chips(self, indices: Indices) -> np.ndarray:
        chips = np.asarray(indices, np.int64).reshape(-1)
        wrong = chips[(chips < -len(self)) | (chips >= len(self))]
        if wrong.size:
            raise IndexError(f"chip {wrong[0]} of {self.path}: it has chips 0 to {len(self) - 1}.")
        return np.where(chips < 0, chips + len(self), chips)

    def _pixels(self, name: str, chips: np.ndarray) -> np.ndarray:
        direct = self._sharded(name)
        if direct is not None and direct.rows == 1:
            return direct.read(chips)
        return np.asarray(self._group[name].oindex[chips])

    def _rows(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Rows of an array other than the pixels, in the order asked for."""
        if name not in self._kept:
            direct = self._sharded(name)
            array: Any = self._group[name] if direct is None else direct
            if math.prod(array.shape) * array.dtype.itemsize > SMALL:
                return np.asarray(array.oindex[rows]) if direct is None else direct.read_rows(rows)
            self._kept[name] = self._whole(name)
        return self._kept[name][rows]

    @cached_property
    def _box_offsets(self) -> np.ndarray:
        return self._whole("box_offsets")

    def _runs(self, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of runs of each object, and the runs."""
        starts = self._rows("run_offsets", objects)
        counts = self._rows("run_offsets", objects + 1) - starts
        return counts, self._rows("object_runs", expanded(starts, counts))

    def _sizes(self, chips: np.ndarray) -> np.ndarray | None:
        if "size" not in self._names:
            return None
        sizes = self._rows("size", chips).astype(np.int64)
        return np.where(sizes > 0, sizes, self.spec.tile) if sizes.any() else None

    def _whole(self, name: str) -> np.ndarray:
        return np.asarray(self._group[name][:])


def _no_store(path: str) -> str:
    return f"{path} is not a chip store: make one with export_training_data, or correct the path."


def is_chip_store(path: str | Path) -> bool:
    """Whether a folder is a finished chip store that can be read here."""
    try:
        return bool(ChipStore(path).attributes)
    except StoreError:
        return False
