"""Write a chip store shard by shard, from any number of processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from rasterloom.models.errors import OutputError, StoreError
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.layout import CHIP_ARRAYS, StoreSpec, stats_to_json


@dataclass(frozen=True, eq=False)
class ChipBlock:
    """Consecutive chips: one shard's, or the last shard's rest."""

    images: np.ndarray
    """(n, C, H, W)"""
    masks: np.ndarray
    """(n, H, W)"""
    transforms: np.ndarray
    """(n, 6)"""
    windows: np.ndarray
    """(n, 4): row, column, height, width"""
    source: np.ndarray
    """(n,)"""
    rotation: np.ndarray
    """(n,)"""
    split: np.ndarray
    """(n,), positions in ``SPLITS``"""

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class ChipWriter:
    """A chip store open for writing. Processes that write different shards do not meet."""

    path: Path
    spec: StoreSpec
    shard: int
    """Chips of a shard."""

    @classmethod
    def create(cls, path: str | Path, spec: StoreSpec, *, shard: int | None = None) -> "ChipWriter":
        """Lay out an empty store.

        Parameters
        ----------
        path
            Folder of the store. What an earlier call laid out there is laid out anew; shards stay.
        spec
            What the store will hold.
        shard
            Chips of a shard. None takes ``spec.shard``.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        path = Path(path)
        shard = spec.shard if shard is None else min(shard, spec.chips)
        try:
            path.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(path, mode="a", zarr_format=3)
            group.attrs.put({**spec.to_json(), "shard": shard})
            for name, layout in _arrays(spec, shard).items():
                if name not in group:
                    group.create_array(name, **layout)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}. Choose a writable folder.") from error
        return cls(path, spec, shard)

    @classmethod
    def open(cls, path: str | Path) -> "ChipWriter":
        """The store that :meth:`create` laid out, in another process."""
        attributes = dict(zarr.open_group(Path(path), mode="r").attrs)
        return cls(Path(path), StoreSpec.from_json(attributes), int(attributes["shard"]))

    def write(self, start: int, block: ChipBlock) -> None:
        """Store chips ``start .. start + len(block)``; writing them again gives the same bytes.

        Raises
        ------
        StoreError
            If the chips are not exactly one shard.
        OutputError
            If the disk refuses, say because it is full.
        """
        stop = start + len(block)
        if start % self.shard or stop != min(start + self.shard, self.spec.chips):
            raise StoreError(
                f"chips {start}..{stop} are not one shard of {self.shard} of the {self.spec.chips} chips: "
                "write whole shards."
            )
        group = zarr.open_group(self.path, mode="r+")
        parts = {
            "images": block.images,
            "masks": block.masks,
            "transform": block.transforms,
            "window": block.windows,
            "source": block.source,
            "rotation": block.rotation,
            "split": block.split,
        }
        try:
            for name, values in parts.items():
                group[name][start:stop] = values
        except OSError as error:
            raise OutputError(self._refused(start, stop, error)) from error

    def finish(self, stats: BandStats, class_pixels: Mapping[int, int]) -> None:
        """Complete the attributes once all shards are written, and sweep what a killed writer left.

        Parameters
        ----------
        stats
            Over the valid pixels of all chips.
        class_pixels
            Number of mask pixels of each class value.
        """
        try:
            group = zarr.open_group(self.path, mode="r+")
            counts = {str(value): int(class_pixels[value]) for value in sorted(class_pixels)}
            group.attrs.update({"statistics": stats_to_json(stats), "class_pixels": counts})
            for leftover in self.path.rglob("*.partial"):
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path} could not be completed: {error}.") from error

    def _refused(self, start: int, stop: int, error: OSError) -> str:
        shard_mb = (stop - start) * self.spec.chip_bytes / 1e6
        total_mb = self.spec.chips * self.spec.chip_bytes / 1e6
        return (
            f"chips {start}..{stop} could not be written to {self.path.parent}: {error}. "
            f"This shard takes up to {shard_mb:.1f} MB and the whole store up to {total_mb:.1f} MB: "
            "make room, or choose another output folder."
        )


def _arrays(spec: StoreSpec, shard: int) -> dict[str, dict[str, Any]]:
    height, width = spec.tile
    pixels = ("row", "column")
    image = (len(spec.bands), height, width)
    arrays = {
        "images": _sharded(spec, shard, image, spec.dtype, ("band", *pixels)),
        "masks": _sharded(spec, shard, (height, width), spec.mask_dtype, pixels),
    }
    for name, (tail, dtype, names) in CHIP_ARRAYS.items():
        arrays[name] = {
            "shape": (spec.chips, *tail),
            "chunks": (shard, *tail),
            "dtype": dtype,
            "fill_value": 0,
            "compressors": [ZstdCodec(level=1, checksum=True)],
            "dimension_names": ("chip", *names),
        }
    return arrays


def _sharded(
    spec: StoreSpec, shard: int, chip: tuple[int, ...], dtype: str, names: tuple[str, ...]
) -> dict[str, Any]:
    # measured: plain zstd is the fastest for bytes; wider types halve in size with their bits sorted first
    wide = np.dtype(dtype).itemsize > 1
    codec = (
        BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize)
        if wide
        else ZstdCodec(level=1, checksum=True)
    )
    return {
        "shape": (spec.chips, *chip),
        "chunks": (1, *chip),
        "shards": (shard, *chip),
        "dtype": dtype,
        "fill_value": 0,
        "compressors": [codec],
        "dimension_names": ("chip", *names),
    }
