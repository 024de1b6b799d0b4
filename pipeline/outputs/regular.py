"""Right-angled outlines, as buildings have them."""

import math

import numpy as np
import shapely

_LEAST_SHARE = 0.5
"""Least intersection over union of an outline and what is made of it; below, the outline stays."""

_ROUNDS = 200
"""More short sides than this are not taken away from one ring."""


def right_angled(shape: shapely.Geometry, tolerance: float) -> shapely.Geometry:
    """An outline of which all sides go one of two ways, at right angles to each other.

    Sides are laid along the main direction of the outline, each where the part of the outline that it stands
    for lies in the mean. What a staircase of pixels or a jog of up to the tolerance breaks becomes one side.
    The result depends on this outline alone: neighbours that share a border may overlap a little afterwards.

    Parameters
    ----------
    shape
        Polygon or polygons.
    tolerance
        Longest side that may go, in the units of the coordinates, above 0.

    Returns
    -------
    Geometry
        Valid. The outline as it was, where nothing right-angled is like it: its intersection over union with
        what would come out is below a half.
    """
    if shape.geom_type == "MultiPolygon":
        parts = [right_angled(part, tolerance) for part in shapely.get_parts(shape)]
        joined = shapely.union_all(parts)
        return joined if joined.is_valid else shape
    angle = main_direction(shape, tolerance)
    x, y = shape.centroid.x, shape.centroid.y
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])

    def laid(points: np.ndarray) -> np.ndarray:
        return np.asarray((points - (x, y)) @ turn)

    def back(points: np.ndarray) -> np.ndarray:
        return np.asarray(points @ turn.T + (x, y))

    straight = shapely.transform(shape, laid)
    shell = _squared(straight.exterior, tolerance)
    if shell is None:
        shell = np.asarray(shapely.box(*straight.bounds).exterior.coords)
    holes = [_squared(ring, tolerance) for ring in straight.interiors]
    found = shapely.Polygon(shell, [hole for hole in holes if hole is not None])
    if not found.is_valid or not _alike(found, straight):
        found = shapely.box(*straight.bounds)
    if not _alike(found, straight):
        return shape
    return shapely.transform(found, back)


def main_direction(shape: shapely.Polygon, tolerance: float) -> float:
    """Direction of most of the outline, in radians from the x axis, at least 0 and below a quarter turn.

    Directions are taken from the outline simplified by the tolerance, each with the square of its length.
    """
    ring = np.asarray(shape.exterior.simplify(tolerance).coords)
    steps = np.diff(ring, axis=0)
    angles, weights = np.arctan2(steps[:, 1], steps[:, 0]), (steps**2).sum(axis=1)
    # four times an angle is the same for all four sides of a rectangle
    mean = math.atan2(
        float((weights * np.sin(4 * angles)).sum()), float((weights * np.cos(4 * angles)).sum())
    )
    return (mean / 4) % (math.pi / 2)


def _alike(one: shapely.Geometry, other: shapely.Geometry) -> bool:
    shared = one.intersection(other).area
    return bool(shared >= _LEAST_SHARE * (one.area + other.area - shared))


def _squared(ring: shapely.LinearRing, tolerance: float) -> np.ndarray | None:
    """Corners of a ring with sides along both axes in turn; None where fewer than four sides are left."""
    points = np.asarray(ring.simplify(tolerance).coords)
    if len(points) < 4:
        return None
    sides = _sides(np.diff(points, axis=0), points)
    for _ in range(_ROUNDS):
        sides = _merged(sides)
        if len(sides) < 4:
            return None
        lengths = _lengths(sides)
        short = int(np.argmin(lengths))
        if lengths[short] >= tolerance or len(sides) == 4:
            break
        sides.pop(short)  # its neighbours lie the same way, and become one
    corners = _corners(sides)
    return np.concatenate([corners, corners[:1]])


Side = tuple[bool, float, float]
"""Whether it goes along x, where it lies on the other axis, and how much of the outline it stands for."""


def _sides(steps: np.ndarray, points: np.ndarray) -> list[Side]:
    sides = []
    for (dx, dy), (x, y) in zip(steps.tolist(), points[:-1].tolist(), strict=True):
        along = abs(dx) >= abs(dy)
        sides.append((along, y + dy / 2 if along else x + dx / 2, abs(dx) if along else abs(dy)))
    return sides


def _merged(sides: list[Side]) -> list[Side]:
    """Neighbours that go the same way as one each, laid at their mean."""
    start = next((i for i in range(len(sides)) if sides[i][0] != sides[i - 1][0]), None)
    if start is None:
        return []
    merged: list[Side] = []
    for along, place, weight in sides[start:] + sides[:start]:
        if merged and merged[-1][0] == along:
            _, other, before = merged.pop()
            total = before + weight
            mean = (other * before + place * weight) / total if total else (other + place) / 2
            merged.append((along, mean, total))
        else:
            merged.append((along, place, weight))
    return merged


def _lengths(sides: list[Side]) -> np.ndarray:
    """Of each side: how far its neighbours are apart."""
    places = np.array([place for _, place, _ in sides])
    return np.asarray(np.abs(np.roll(places, -1) - np.roll(places, 1)))


def _corners(sides: list[Side]) -> np.ndarray:
    """Where each side meets the next."""
    corners = []
    for (along, place, _), (_, following, _) in zip(sides, sides[1:] + sides[:1], strict=True):
        corners.append((following, place) if along else (place, following))
    return np.array(corners)
