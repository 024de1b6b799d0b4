"""Class rasters cut into pieces and put together again, beside what GDAL makes of the whole."""

from collections.abc import Callable

import numpy as np
import rasterio.features
import shapely
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rasterloom.pipeline.outputs.polygons import Patch
from rasterloom.pipeline.outputs.polygons_join import join
from rasterloom.pipeline.outputs.polygons_rings import Shapes, settle
from rasterloom.pipeline.outputs.polygons_trace import trace
from rasterloom.pipeline.rasters.grid import Window

Features = list[tuple[int, bytes]]
"""Value and outline of each feature, in an order that only they decide."""


def class_rasters(most: int = 9, values: int = 3) -> st.SearchStrategy[np.ndarray]:
    """Small rasters of few classes: corners where a class meets itself, holes and islands are common."""
    shapes = st.tuples(st.integers(1, most), st.integers(1, most))
    return hnp.arrays(np.uint8, shapes, elements=st.integers(0, values))


def gdal_features(pixels: np.ndarray, wanted: np.ndarray) -> Features:
    """What GDAL finds in the whole raster."""
    if not wanted.any():  # which rasterio takes for a mask that is not given
        return []
    found = rasterio.features.shapes(pixels.astype(np.int32), mask=wanted)
    return sorted((int(value), shapely.normalize(shapely.geometry.shape(each)).wkb) for each, value in found)


def listed(parts: list[Shapes]) -> Features:
    """The features of several parts."""
    return sorted(
        (int(value), shapely.normalize(outline).wkb)
        for part in parts
        for value, outline in zip(part.values, part.outlines, strict=True)
    )


def pieced(
    pixels: np.ndarray,
    wanted: np.ndarray,
    *,
    cell: int,
    fan: int = 2,
    connectivity: int = 4,
    prepared: Callable[[Patch], Patch] = lambda patch: patch,
    exact: bool = True,
    shares: np.ndarray | None = None,
) -> list[Shapes]:
    """Trace cells of a raster, and join them in squares of ``fan`` x ``fan`` until there is one."""
    parts: list[Shapes] = []

    def settled(patch: Patch) -> Patch:
        found, rest = settle(prepared(patch), exact=exact)
        parts.append(found)
        return Patch.from_bytes(rest.to_bytes())

    level = {}
    for row in range(0, pixels.shape[0], cell):
        for col in range(0, pixels.shape[1], cell):
            window = Window(row, col, cell, cell).clipped(pixels.shape)
            level[row // cell, col // cell] = settled(
                trace(
                    pixels[window.slices],
                    wanted[window.slices],
                    window,
                    pixels.shape,
                    connectivity=connectivity,
                    shares=None if shares is None else shares[window.slices],
                )
            )
    while len(level) > 1:
        squares: dict[tuple[int, int], list[Patch]] = {}
        for (row, col), patch in level.items():
            squares.setdefault((row // fan, col // fan), []).append(patch)
        level = {place: settled(join(below, connectivity=connectivity)) for place, below in squares.items()}
    (last,) = level.values()
    assert (len(last.faces), len(last.chains)) == (1, 0), "nothing is left over"
    return parts
