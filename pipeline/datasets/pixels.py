"""Chips with one class for each pixel, as a torch data set that reads whole batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.datasets.sources import ChipSource


@dataclass(frozen=True)
class RawBatch(Sequence):
    """Some chips as they lie in the store, one array for all."""

    images: np.ndarray
    """(n, C, H, W), the store's pixel type and units."""
    masks: np.ndarray
    """(n, H, W) position of each pixel's class among the network's outputs; 0 is background."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override] # torch names no type
        return self.images[index], self.masks[index]


@dataclass(frozen=True)
class PixelChips(Dataset):
    """Some chips of a source, in a fixed order."""

    source: ChipSource
    indices: np.ndarray
    """(n,) positions in the source."""
    bands: tuple[int, ...]
    """0-based positions of the bands that are used."""
    table: np.ndarray
    """Output position of every mask value, see :func:`output_table`."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> RawBatch:
        """Several chips with one read of the store; this name is torch's protocol for it."""
        chosen = self.indices[np.asarray(positions, np.int64)]
        images = self.source.images(chosen)
        if self.bands != tuple(range(images.shape[1])):
            images = images[:, list(self.bands)]
        return RawBatch(images, self.table[self.source.masks(chosen)])


def output_table(source: ChipSource) -> np.ndarray:
    """Where each mask value stands among the network's outputs.

    Returns
    -------
    numpy.ndarray
        (largest class value + 1,), uint8 up to 256 outputs and int16 above. 0 stays 0, the classes follow in
        ascending value.

    Raises
    ------
    StoreError
        If the masks hold values that are no classes of the store.
    """
    values = (0, *(c.value for c in source.classes if c.value != 0))
    strange = sorted(v for v, pixels in source.class_pixels.items() if pixels and v not in values)
    if strange:
        raise StoreError(
            f"the masks hold values {strange[:10]} that are no classes of the store ({list(values)}): "
            "export the chips again."
        )
    table = np.zeros(max(values) + 1, np.uint8 if len(values) <= 256 else np.int16)
    table[list(values)] = np.arange(len(values))
    return table
