"""Training chips made the plain way: the whole raster in memory, one chip and one feature after the other."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely.affinity import affine_transform

SLIVER = 1e-3
"""Pixels that a feature must reach into a chip: to touch is not to overlap."""


@dataclass(frozen=True, eq=False)
class NaiveObject:
    """A feature in a chip."""

    feature: int
    value: int
    box: tuple[float, float, float, float]
    """xmin, ymin, xmax, ymax in pixels of the chip."""
    share: float


@dataclass(frozen=True, eq=False)
class NaiveChips:
    """The chips of a raster, on a grid that begins at its upper-left corner."""

    pixels: np.ndarray
    """(C, H, W)"""
    transform: Affine
    geometries: Any
    """In the raster's CRS."""
    values: Any
    """Class value of each feature."""
    tile: int

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Corners (row, column) of the chips that a feature overlaps."""
        rows, cols = (range(0, side - self.tile + 1, self.tile) for side in self.pixels.shape[1:])
        for row in rows:
            for col in cols:
                inner = shapely.box(
                    col + SLIVER, row + SLIVER, col + self.tile - SLIVER, row + self.tile - SLIVER
                )
                if any(shapely.intersects(inner, one) for one in self._in_pixels):
                    yield row, col

    def image(self, row: int, col: int) -> np.ndarray:
        return self.pixels[:, row : row + self.tile, col : col + self.tile]

    def mask(self, row: int, col: int) -> np.ndarray:
        """Class values; a later feature covers an earlier one."""
        return self._burned[row : row + self.tile, col : col + self.tile]

    def objects(self, row: int, col: int) -> list[NaiveObject]:
        """The features that lie in a chip, in their order."""
        chip, found = shapely.box(col, row, col + self.tile, row + self.tile), []
        for feature, outline in enumerate(self._in_pixels):
            part = shapely.intersection(outline, chip)
            if part.area <= 0:
                continue
            xmin, ymin, xmax, ymax = part.bounds
            box = (xmin - col, ymin - row, xmax - col, ymax - row)
            found.append(NaiveObject(feature, int(self.values[feature]), box, part.area / outline.area))
        return found

    def outline(self, row: int, col: int, feature: int) -> np.ndarray:
        """The pixels of one feature in a chip, bool (T, T)."""
        whole = rasterize(
            [(self.geometries[feature], 1)], self.pixels.shape[1:], transform=self.transform, dtype="uint8"
        )
        return whole[row : row + self.tile, col : col + self.tile] > 0

    @cached_property
    def _in_pixels(self) -> list[Any]:
        into = ~self.transform
        matrix = [into.a, into.b, into.d, into.e, into.c, into.f]
        return [affine_transform(one, matrix) for one in self.geometries]

    @cached_property
    def _burned(self) -> np.ndarray:
        shapes = zip(self.geometries, [int(v) for v in self.values], strict=True)
        return rasterize(shapes, self.pixels.shape[1:], transform=self.transform, dtype="uint16")
