"""Chips from pixels and features: images, masks and their statistics in one pass."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.pipeline.chips.tally import BandTally
from rasterloom.pipeline.labels.burn import burn
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.layout import stats_from_json, stats_to_json
from rasterloom.pipeline.store.write import ChipBlock


@dataclass(frozen=True)
class ChipStats:
    """Statistics of some chips."""

    bands: BandStats
    """Over the valid pixels; a pixel in two overlapping chips counts twice."""
    class_pixels: dict[int, int]
    """Mask pixels of each class value."""

    def merge(self, other: "ChipStats") -> "ChipStats":
        """Statistics of both groups of chips. In one order of merging, the same bit for bit."""
        counts = Counter(self.class_pixels)
        counts.update(other.class_pixels)
        return ChipStats(self.bands.merge(other.bands), dict(sorted(counts.items())))

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary that :meth:`from_json` reads back."""
        counts = {str(value): count for value, count in self.class_pixels.items()}
        return {"bands": stats_to_json(self.bands), "class_pixels": counts}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "ChipStats":
        """The value that :meth:`to_json` wrote."""
        counts = {int(value): int(count) for value, count in plain["class_pixels"].items()}
        return cls(stats_from_json(plain["bands"]), counts)


def cut_chips(
    raster: Raster,
    labels: Labels,
    corners: np.ndarray,
    *,
    tile: tuple[int, int],
    mask_dtype: str,
) -> tuple[ChipBlock, ChipStats]:
    """Cut chips out of a raster and burn the labels into their masks.

    Parameters
    ----------
    raster
        On the grid to read on.
    labels
        In the raster's CRS; at least the features that touch the chips.
    corners
        (n, 2) row and column of each chip's upper-left pixel.
    tile
        Height and width of a chip in pixels.
    mask_dtype
        Type of the masks; it must hold every class value.

    Returns
    -------
    block : ChipBlock
        Pixels that hold nothing, or lie beyond the raster, are 0 in the images; masks show labels there too.
    stats : ChipStats

    Raises
    ------
    ReadError
        If pixels cannot be read.
    """
    count = len(corners)
    images = np.zeros((count, raster.band_count, *tile), raster.dtype)
    masks = np.zeros((count, *tile), mask_dtype)
    transforms = np.zeros((count, 6))
    bands = BandTally(raster.band_count, raster.dtype)
    class_pixels: Counter[int] = Counter()
    for chip, (row, col) in enumerate(corners.tolist()):
        window = Window(row, col, *tile)
        bands.add(images[chip], _fill(images[chip], raster, window))
        masks[chip] = burn(labels, raster.grid, window, mask_dtype)
        transforms[chip] = tuple(raster.grid.window_affine(window))[:6]
        counts = np.bincount(masks[chip].ravel())
        class_pixels.update({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
    stats = ChipStats(bands.stats(), dict(sorted(class_pixels.items())))
    return _block(images, masks, transforms, corners, tile), stats


def _fill(image: np.ndarray, raster: Raster, window: Window) -> np.ndarray:
    """Read a window into ``image`` (C, H, W), zeros where nothing is; returns where something is, (H, W)."""
    inside = window.clipped(raster.grid.shape)
    pixels, valid = read_window(raster, inside)
    pixels[:, ~valid] = 0
    place = Window(inside.row - window.row, inside.col - window.col, inside.height, inside.width).slices
    image[:, place[0], place[1]] = pixels
    whole = np.zeros(image.shape[1:], bool)
    whole[place] = valid
    return whole


def _block(
    images: np.ndarray,
    masks: np.ndarray,
    transforms: np.ndarray,
    corners: np.ndarray,
    tile: tuple[int, int],
) -> ChipBlock:
    count = len(corners)
    sizes = np.broadcast_to(np.array(tile, np.int64), (count, 2))
    return ChipBlock(
        images=images,
        masks=masks,
        transforms=transforms,
        windows=np.concatenate([corners, sizes], axis=1),
        source=np.zeros(count, np.int32),
        rotation=np.zeros(count, np.float32),
        split=np.zeros(count, np.uint8),
    )
