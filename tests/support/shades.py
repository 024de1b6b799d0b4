"""A model that tells how bright a chip is on the whole, and what it should say of any feature."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
import torch
from rasterio.features import rasterize
from torch import Tensor, nn

SHADES = ["dark", "grey", "bright"]
LEVELS = np.array([40.0, 110.0, 200.0])
"""Means that the shades stand for: a chip has the nearest."""


class Shade(nn.Module):
    """Scores that fall with the distance of the mean from each level."""

    def __init__(self, *, upper_half: bool = False) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(LEVELS).float())
        self.upper_half = upper_half

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3)"""
        seen = images[:, :, : images.shape[2] // 2] if self.upper_half else images
        return -((seen.mean(dim=(1, 2, 3))[:, None] - self.levels) ** 2) / 500


def shade_model(*, tile_size: int = 16, bands: int = 1, upper_half: bool = False, **changes: Any) -> Any:
    """The network as a model for scenes."""
    from rasterloom.models import from_torch

    settings: dict[str, Any] = {"task": "scenes", "classes": SHADES, "bands": bands, "tile_size": tile_size}
    return from_torch(Shade(upper_half=upper_half), **(settings | changes))


def shaded(rows: int, cols: int, *, side: int = 8, seed: int = 0) -> np.ndarray:
    """(1, H, W) uint8 of squares, each of one shade of grey."""
    values = np.random.default_rng(seed).integers(1, 256, (1, rows, cols))
    return values.repeat(side, 1).repeat(side, 2).astype(np.uint8)


def expected(
    raster: Path, shape: Any, tile: int = 16, *, fixed: bool = True, blacken: bool = False
) -> float | None:
    """The mean of the chip around a shape in the raster's CRS, cut in a plain way; None outside of it.

    With ``fixed`` false it is the mean of the cropped chip itself, before it is enlarged.
    """
    pixels, transform = _read(raster)
    inverse = ~transform
    moved = shapely.transform(shape, lambda xy: np.stack(inverse @ xy.T, axis=1))
    west, north, east, south = moved.bounds
    row, col = (north + south) / 2, (west + east) / 2
    if not (0 <= row < pixels.shape[0] and 0 <= col < pixels.shape[1]):
        return None
    if blacken:
        pixels = pixels * rasterize([(shape, 1)], out_shape=pixels.shape, transform=transform)
    top, left = round_half_up(row - tile / 2), round_half_up(col - tile / 2)
    bottom, right = top + tile, left + tile
    if not fixed:
        top, left = max(top, int(np.floor(north))), max(left, int(np.floor(west)))
        bottom, right = min(bottom, int(np.ceil(south))), min(right, int(np.ceil(east)))
    padded = np.pad(pixels, tile)
    return float(padded[top + tile : bottom + tile, left + tile : right + tile].mean())


@lru_cache(maxsize=4)
def _read(raster: Path) -> tuple[np.ndarray, Any]:
    with rasterio.open(raster) as file:
        pixels = file.read(1).astype(float)
        if file.nodata is not None:
            pixels[pixels == file.nodata] = 0
        return pixels, file.transform


def round_half_up(number: float) -> int:
    """The nearest whole number, the greater of two."""
    return int(np.floor(number + 0.5))


def shade_of(mean: float) -> tuple[str, float]:
    """The shade of a mean, and the confidence in percent."""
    scores = -((mean - LEVELS) ** 2) / 500
    shares = np.exp(scores - scores.max())
    return SHADES[int(shares.argmax())], float(100 * shares.max() / shares.sum())


def scattered(count: int, shape: tuple[int, int], *, seed: int = 0, crs: str = "EPSG:32633") -> Any:
    """Points, lines and polygons of 2 to 20 m over a raster of 1 m from (500000, 5000000), and around it."""
    generator = np.random.default_rng(seed)
    x = 500_000 + generator.uniform(-10, shape[1] + 10, count)
    y = 5_000_000 - generator.uniform(-10, shape[0] + 10, count)
    size = generator.uniform(1, 10, (2, count))
    boxes = shapely.box(x - size[0], y - size[1], x + size[0], y + size[1])
    lines = shapely.linestrings(np.stack([x, y, x + size[0], y + size[1]], axis=1).reshape(-1, 2, 2))
    kind = np.arange(count) % 4
    shapes = np.where(kind == 0, shapely.points(x, y), np.where(kind == 1, lines, boxes))
    return geopandas.GeoDataFrame(
        {"number": np.arange(count), "name": [f"feature {n}" for n in range(count)]},
        geometry=shapes,
        crs="EPSG:32633",
    ).to_crs(crs)
