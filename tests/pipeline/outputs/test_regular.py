"""Right-angled outlines are right-angled, and like what they stand for."""

import math

import numpy as np
import pytest
import rasterio.features
import shapely
from affine import Affine

from rasterloom.pipeline.outputs.regular import main_direction, right_angled

_HOUSE = shapely.Polygon([(0, 0), (30, 0), (30, 12), (14, 12), (14, 26), (0, 26)])


def burnt(shape: shapely.Geometry, cell: float = 0.5) -> shapely.Polygon:
    """The outline of the pixels of a shape."""
    west, south, east, north = shape.buffer(3).bounds
    size = math.ceil((north - south) / cell), math.ceil((east - west) / cell)
    place = Affine(cell, 0, west, 0, -cell, north)
    mask = rasterio.features.rasterize([shape], size, transform=place).astype(np.uint8)
    found = rasterio.features.shapes(mask, mask > 0, transform=place)
    return max((shapely.geometry.shape(each) for each, _ in found), key=lambda each: each.area)


def angles_between_sides(shape: shapely.Polygon) -> np.ndarray:
    steps = np.diff(np.asarray(shape.exterior.coords), axis=0)
    way = np.arctan2(steps[:, 1], steps[:, 0])
    return np.degrees(np.abs((way - way[0] + math.pi / 4) % (math.pi / 2) - math.pi / 4))


@pytest.mark.parametrize("degrees", [0, 11, 30, 45, 73])
def test_the_pixels_of_a_turned_house_become_its_six_right_angles(degrees: int) -> None:
    house = shapely.affinity.rotate(_HOUSE, degrees)
    found = right_angled(burnt(house), 2.0)
    assert found.is_valid
    assert len(found.exterior.coords) == 7
    assert angles_between_sides(found).max() < 1e-6
    assert found.intersection(house).area / found.union(house).area > 0.9


def test_the_main_direction_is_that_of_the_long_sides() -> None:
    for degrees in (0, 20, 60, 89):
        turned = shapely.affinity.rotate(_HOUSE, degrees)
        off = (main_direction(burnt(turned), 1.5) - math.radians(degrees)) % (math.pi / 2)
        assert min(off, math.pi / 2 - off) < math.radians(3)


def test_a_courtyard_stays_and_is_right_angled_too() -> None:
    yard = shapely.affinity.rotate(shapely.box(0, 0, 30, 30) - shapely.box(8, 8, 20, 20), 25)
    found = right_angled(burnt(yard), 2.0)
    (hole,) = found.interiors
    assert shapely.Polygon(hole).area == pytest.approx(144, rel=0.1)


def test_what_nothing_right_angled_is_like_stays_as_it_is() -> None:
    ring = shapely.Point(0, 0).buffer(20) - shapely.Point(0, 0).buffer(19)
    cut = ring - shapely.box(0, -3, 30, 3)
    found = right_angled(cut, 30.0)
    assert found.equals(cut)


def test_parts_that_touch_at_corners_are_one_feature_still() -> None:
    parts = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), shapely.box(10, 10, 20, 20)])
    found = right_angled(parts, 1.0)
    assert found.is_valid
    assert found.area == pytest.approx(200)
