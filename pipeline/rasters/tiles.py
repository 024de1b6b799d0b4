"""Cut a raster into tiles: what a network sees, and what is kept of what it says."""

from collections.abc import Iterator
from dataclasses import dataclass

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Window


@dataclass(frozen=True)
class Tile:
    """One forward pass's square of a raster."""

    read: Window
    """What the network sees; it may reach beyond the raster."""
    keep: tuple[slice, slice]
    """Rows and columns of the raster that this tile's prediction fills."""


def stride_of(tile: int, padding: int) -> int:
    """Pixels kept of each side of a tile.

    Raises
    ------
    SettingError
        If the padding leaves nothing of the tile, or a number is out of range.

    References
    ----------
    "Deep learning arguments", padding: at most half the tile size.
    """
    if tile < 1:
        raise SettingError(f"tile_size={tile} cannot work: use a positive number of pixels.")
    if padding < 0:
        raise SettingError(f"padding={padding} cannot work: use 0 or more pixels.")
    if 2 * padding >= tile:
        raise SettingError(
            f"padding={padding} leaves nothing of a {tile}-pixel tile: use {(tile - 1) // 2} or less."
        )
    return tile - 2 * padding


def plan_tiles(shape: tuple[int, int], *, tile: int, padding: int = 0) -> list[Tile]:
    """Cover a raster so that every pixel is kept by exactly one tile.

    Parameters
    ----------
    shape
        Raster size in pixels, (height, width).
    tile
        Side of what the model sees, in pixels, padding included.
    padding
        Pixels dropped from each side of a prediction. Less than half of ``tile``.

    Returns
    -------
    list of Tile
        In row-major order, anchored at the upper-left corner. Empty for an empty raster.

    Raises
    ------
    SettingError
        If the padding leaves nothing of the tile.

    References
    ----------
    "Deep learning arguments", padding: at most half the tile size.
    """
    stride = stride_of(tile, padding)
    height, width = shape
    return [
        Tile(
            Window(row - padding, col - padding, tile, tile),
            (slice(row, min(row + stride, height)), slice(col, min(col + stride, width))),
        )
        for row in range(0, height, stride)
        for col in range(0, width, stride)
    ]


def iter_windows(shape: tuple[int, int], size: int) -> Iterator[Window]:
    """Windows of at most ``size`` pixels a side that cover a raster once, in row-major order."""
    height, width = shape
    for row in range(0, height, size):
        for col in range(0, width, size):
            yield Window(row, col, min(size, height - row), min(size, width - col))
