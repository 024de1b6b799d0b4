"""Tiles of a raster that a test has cut, as the last step of a run finds them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rasterloom.cluster.places import Place
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.tiles import iter_windows


@dataclass(frozen=True)
class ListedTiles:
    """What GDAL opens, and its place on the output's grid."""

    tiles: tuple[tuple[str, Window], ...]

    def within(self, window: Window) -> Iterator[tuple[str, Window]]:
        for path, place in self.tiles:
            if (
                place.row < window.row_stop
                and window.row < place.row_stop
                and place.col < window.col_stop
                and window.col < place.col_stop
            ):
                yield path, place


def cut_tiles(
    place: Place, pixels: np.ndarray, grid: Grid, side: int, *, nodata: float, lost: int | None = None
) -> ListedTiles:
    """Write (band, row, column) pixels as tiles of ``side``, all but the tile number ``lost``."""
    tiles = []
    for index, window in enumerate(iter_windows(grid.shape, side)):
        if index == lost:
            continue
        write_tile(place, f"{index}.tif", pixels[:, *window.slices], grid.cropped(window), nodata=nodata)
        tiles.append((place.gdal(f"{index}.tif"), window))
    return ListedTiles(tuple(tiles))
