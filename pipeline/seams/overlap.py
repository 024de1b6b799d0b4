"""Which boxes overlap, and by how much."""

from collections.abc import Iterator

import numpy as np
import shapely

_AREAL = 2
"""Dimension of what has an area."""

_BLOCK = 1024
"""Boxes looked up at once. In the worst case, where all overlap, pairs take 16 * 1024 bytes for each box."""


def shared_area(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) area that boxes (n, 4) of one table share with those in the same rows of another."""
    width = np.minimum(first[:, 2], second[:, 2]) - np.maximum(first[:, 0], second[:, 0])
    height = np.minimum(first[:, 3], second[:, 3]) - np.maximum(first[:, 1], second[:, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def area(boxes: np.ndarray) -> np.ndarray:
    """(n,) area of boxes (n, 4)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n,) shared area over common area, row by row; 0 where there is no area at all."""
    shared = shared_area(first, second)
    common = area(first) + area(second) - shared
    return np.divide(shared, common, out=np.zeros_like(shared), where=common > 0)


def clipped(boxes: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """(n, 4) what of boxes (n, 4) lies within limits (n, 4); no area where nothing does."""
    start = np.maximum(boxes[:, :2], limits[:, :2])
    stop = np.minimum(boxes[:, 2:], limits[:, 2:])
    return np.concatenate([start, np.maximum(start, stop)], axis=1)


def areal(shapes: np.ndarray) -> np.ndarray:
    """The shapes, valid, without the points and lines that cutting and mending leave beside their areas.

    Overlay fails on some mixtures of areas and lines. None stays None.
    """
    shapes = shapes.copy()
    bad = ~shapely.is_valid(shapes) & shapely.is_geometry(shapes)
    shapes[bad] = shapely.make_valid(shapes[bad])
    for row in np.flatnonzero(shapely.get_type_id(shapes) == shapely.GeometryType.GEOMETRYCOLLECTION):
        parts = shapely.get_parts(shapely.get_parts(shapes[row : row + 1]))
        flat = parts[shapely.get_dimensions(parts) == _AREAL]
        shapes[row] = flat[0] if len(flat) == 1 else shapely.MultiPolygon(flat.tolist())
    return shapes


def overlapping_pairs(boxes: np.ndarray, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of one label that share an area: every pair once, the smaller row first, in blocks.

    Parameters
    ----------
    boxes
        (n, 4) x1, y1, x2, y2.
    labels
        (n,) Boxes of different labels are no pair.
    """
    shapes = shapely.box(*boxes.T)
    tree = shapely.STRtree(shapes)
    for start in range(0, len(boxes), _BLOCK):
        first, second = tree.query(shapes[start : start + _BLOCK])
        first += start
        pair = (first < second) & (labels[first] == labels[second])
        first, second = first[pair], second[pair]
        pair = shared_area(boxes[first], boxes[second]) > 0
        yield first[pair], second[pair]
