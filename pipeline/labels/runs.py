"""Geometries as runs of pixels: rows with a first and a last column, GDAL's rules for filling.

Written in NumPy because GDAL, asked for a window, computes with the window's own origin, and other rounding
gives other pixels where edges meet pixel centres. Here everything is computed in the raster's columns and
rows, and a window only chooses what is kept.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from rasterloom.pipeline.rasters.grid import Grid, Window

SNAP = 2.0**20
"""Vertices are rounded to this part of a pixel, so that those meant for a pixel's centre lie on it."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of pixels, one row each in all arrays (n,), int64."""

    feature: np.ndarray
    """Position of the feature."""
    row: np.ndarray
    start: np.ndarray
    """First column."""
    stop: np.ndarray
    """Column after the last."""

    def inside(self, window: Window) -> "Runs":
        """What lies in a window."""
        start, stop = np.maximum(self.start, window.col), np.minimum(self.stop, window.col_stop)
        kept = (start < stop) & (self.row >= window.row) & (self.row < window.row_stop)
        return Runs(self.feature[kept], self.row[kept], start[kept], stop[kept])


def runs_of(geometries: np.ndarray, grid: Grid, window: Window) -> Runs:
    """The pixels of geometries inside a window, sorted by feature.

    A polygon fills the pixels whose centre it holds; a centre on its left edge, or on an edge along a row
    of centres, belongs to it. A line fills the pixels of straight paths between vertices, a point its own.

    References
    ----------
    GDAL, ``llrasterize.cpp``: GDALdllImageFilledPolygon, GDALdllImageLine, GDALdllImagePoint.
    """
    parts, feature = _simple_parts(geometries)
    dimension = shapely.get_dimensions(parts)
    found = [
        rule(parts[dimension == kind], feature[dimension == kind], grid, window)
        for kind, rule in enumerate((_points, _lines, _polygons))
        if (dimension == kind).any()
    ]
    columns = [
        np.concatenate([getattr(runs, name) for runs in found])
        for name in ("feature", "row", "start", "stop")
    ]
    order = np.argsort(columns[0], kind="stable")
    return Runs(*(column[order] for column in columns))


def _simple_parts(geometries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polygons, lines and points that make up the geometries, and which geometry each is of."""
    parts, feature = geometries, np.arange(len(geometries))
    while (shapely.get_type_id(parts) >= 4).any():  # a multi-part or a collection, maybe nested
        parts, index = shapely.get_parts(parts, return_index=True)
        feature = feature[index]
    return parts, feature


def _polygons(parts: np.ndarray, feature: np.ndarray, grid: Grid, window: Window) -> Runs:
    # GDAL too turns rings the same way before it looks which flat edges go left
    turned = shapely.orient_polygons(parts, exterior_cw=True)
    rings, part_of_ring = shapely.get_rings(turned, return_index=True)
    first, second, ring = _segments(rings, grid)
    part = part_of_ring[ring]
    filled = _between_edges(first, second, part, window)
    flat = _flat_edges(first, second, part)
    both = [np.concatenate(pair) for pair in zip(filled, flat, strict=True)]
    return Runs(feature[both[0]], *both[1:]).inside(window)


def _segments(lines: Any, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both ends of all segments as (column, row), and which line each is of."""
    xy, index = shapely.get_coordinates(lines, return_index=True)
    places = to_pixels(xy, grid)
    joined = np.flatnonzero(index[:-1] == index[1:])
    return places[joined], places[joined + 1], index[joined]


def _between_edges(
    first: np.ndarray, second: np.ndarray, part: np.ndarray, window: Window
) -> tuple[np.ndarray, ...]:
    """Runs between the crossings of a row's centre line with a polygon's edges: part, row, start, stop."""
    down = (first[:, 1] < second[:, 1])[:, None]
    upper, lower = np.where(down, first, second), np.where(down, second, first)
    top = np.maximum(np.ceil(upper[:, 1] - 0.5), window.row).astype(np.int64)
    bottom = np.minimum(np.ceil(lower[:, 1] - 0.5), window.row_stop).astype(np.int64)
    edge, row = _expanded(top, bottom)
    x1, y1, x2, y2 = upper[edge, 0], upper[edge, 1], lower[edge, 0], lower[edge, 1]
    crossing = np.floor((row + 0.5 - y1) * (x2 - x1) / (y2 - y1) + x1 + 0.5)
    crossing = np.clip(crossing, window.col, window.col_stop).astype(np.int64)
    # part, row and column in one number: sorting plain numbers is several times as fast as by three keys
    high, wide = max(window.height, 1), window.width + 1
    order = (part[edge] * high + row - window.row) * wide + crossing - window.col
    order.sort()
    line, crossing = np.divmod(order, wide)
    # rings are closed, so every row of a polygon is crossed an even number of times
    part, row = np.divmod(line[::2], high)
    row, crossing = row + window.row, crossing + window.col
    return part, row, crossing[::2], crossing[1::2]


def _flat_edges(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, ...]:
    """Runs along lower edges on a row's centre line, which GDAL fills too: in turned rings they go left."""
    flat = (first[:, 1] == second[:, 1]) & (first[:, 1] % 1 == 0.5) & (first[:, 0] > second[:, 0])
    row = np.floor(first[flat, 1]).astype(np.int64)
    start, stop = (np.floor(end[flat, 0] + 0.5).astype(np.int64) for end in (second, first))
    return part[flat], row, start, stop


def _lines(parts: np.ndarray, feature: np.ndarray, grid: Grid, window: Window) -> Runs:
    first, second, line = _segments(parts, grid)
    start, end = np.floor(first).astype(np.int64), np.floor(second).astype(np.int64)
    step = end - start
    steep = np.abs(step[:, 1]) > np.abs(step[:, 0])
    along = np.where(steep, np.abs(step[:, 1]), np.abs(step[:, 0]))
    across = np.where(steep, np.abs(step[:, 0]), np.abs(step[:, 1]))
    segment, done = _expanded(np.zeros_like(along), along + 1)
    # Bresenham's error term, solved for the steps to the side after `done` steps ahead
    aside = (2 * done * across[segment] + along[segment]) // np.maximum(2 * along[segment], 1)
    aside[along[segment] == 0] = 0
    sign = np.where(step < 0, -1, 1)[segment]
    wide = steep[segment]
    col = start[segment, 0] + sign[:, 0] * np.where(wide, aside, done)
    row = start[segment, 1] + sign[:, 1] * np.where(wide, done, aside)
    return Runs(feature[line[segment]], row, col, col + 1).inside(window)


def _points(parts: np.ndarray, feature: np.ndarray, grid: Grid, window: Window) -> Runs:
    place = np.floor(to_pixels(shapely.get_coordinates(parts), grid)).astype(np.int64)
    return Runs(feature, place[:, 1], place[:, 0], place[:, 0] + 1).inside(window)


def to_pixels(xy: np.ndarray, grid: Grid) -> np.ndarray:
    """Columns and rows on a grid, (n, 2), of points in CRS units, rounded to a millionth of a pixel."""
    a, b, c, d, e, f = grid.transform
    # taking off the origin first keeps the digits that large coordinates would lose
    x, y = xy[:, 0] - c, xy[:, 1] - f
    area = a * e - b * d
    places = np.stack([(e * x - b * y) / area, (a * y - d * x) / area], axis=1)
    return np.round(places * SNAP) / SNAP


def _expanded(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All whole numbers of the ranges start..stop, and which range each is of."""
    counts = np.maximum(stop - start, 0)
    index = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    return index, start[index] + within
