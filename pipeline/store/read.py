"""Read a chip store: its description at once, its pixels batch by batch."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.errors import GroupNotFoundError

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec, check_format, stats_from_json
from rasterloom.pipeline.store.shards import ShardedArray


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
        attributes = self._local_attributes() if self._local else dict(self._group.attrs)
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
    def class_pixels(self) -> dict[int, int]:
        """Mask pixels of each class value over all chips; 0 counts the pixels of no class."""
        return {int(value): int(count) for value, count in self.attributes["class_pixels"].items()}

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images (n, C, H, W) in the order asked for; negative indices count from the end.

        Raises
        ------
        IndexError
            If there is no such chip.
        StoreError
            If the pixels are damaged.
        """
        return self._pixels("images", indices)

    def masks(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Class values (n, H, W) in the order asked for; 0 where there is no class."""
        return self._pixels("masks", indices)

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
    def _local(self) -> bool:
        return "://" not in self.path

    @cached_property
    def _group(self) -> Any:
        try:
            return zarr.open_group(self.path, mode="r", zarr_format=3)
        except (GroupNotFoundError, FileNotFoundError, ValueError) as error:
            raise StoreError(_no_store(self.path)) from error

    @cached_property
    def _sharded(self) -> dict[str, ShardedArray | None]:
        """Arrays whose shards are read directly; None for those that zarr-python reads."""
        names = ("images", "masks")
        return {name: ShardedArray.open(Path(self.path) / name) if self._local else None for name in names}

    def _local_attributes(self) -> dict[str, Any]:
        try:
            plain = json.loads((Path(self.path) / "zarr.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(_no_store(self.path)) from error
        return dict(plain.get("attributes", {})) if isinstance(plain, dict) else {}

    def _pixels(self, name: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        chips = np.asarray(indices, np.int64).reshape(-1)
        wrong = chips[(chips < -len(self)) | (chips >= len(self))]
        if wrong.size:
            raise IndexError(f"chip {wrong[0]} of {self.path}: it has chips 0 to {len(self) - 1}.")
        chips = np.where(chips < 0, chips + len(self), chips)
        direct = self._sharded[name]
        if direct is not None:
            return direct.read(chips)
        return np.asarray(self._group[name].oindex[chips])

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
