"""Simplified borders stay shared, stay near, and do not depend on the cut."""

from functools import partial

import numpy as np
import shapely
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.outputs.polygons_rings import Shapes
from rasterloom.pipeline.outputs.polygons_simplify import simplify
from tests.support.polygons import class_rasters, listed, pieced

_STEP = np.eye(2)


def simplified(
    pixels: np.ndarray, wanted: np.ndarray, cell: int, tolerance: float, linear: np.ndarray = _STEP
) -> list[Shapes]:
    thinner = partial(simplify, tolerance=tolerance, linear=linear)
    return pieced(pixels, wanted, cell=cell, prepared=thinner, exact=False)


@settings(deadline=None, max_examples=30)
@given(
    pixels=class_rasters(most=12),
    cell=st.integers(2, 8),
    tolerance=st.sampled_from([0.3, 0.75, 1.5, 4.0]),
    holes=st.booleans(),
)
def test_any_cut_gives_the_same_valid_coverage_near_to_the_pixels(
    pixels: np.ndarray, cell: int, tolerance: float, holes: bool
) -> None:
    wanted = pixels > 0 if holes else np.ones(pixels.shape, bool)
    whole = simplified(pixels, wanted, 99, tolerance)
    assert listed(simplified(pixels, wanted, cell, tolerance)) == listed(whole)
    outlines = np.concatenate([part.outlines for part in whole])
    if not wanted.any():
        assert not len(outlines)
        return
    assert shapely.is_valid(outlines).all()
    assert (shapely.area(outlines) > 0).all()
    assert shapely.coverage_is_valid(outlines)
    exact = np.concatenate([part.outlines for part in pieced(pixels, wanted, cell=99)])
    assert len(exact) == len(outlines)
    edges = shapely.union_all(shapely.boundary(outlines))
    corners = shapely.points(shapely.get_coordinates(exact))
    assert shapely.distance(edges, corners).max() <= tolerance + 1e-9


def test_a_staircase_between_two_classes_becomes_few_corners_for_both() -> None:
    rows, cols = np.mgrid[:60, :60]
    pixels = np.where(rows > 2 * cols / 3 + 5, 1, 2).astype(np.uint8)
    everywhere = np.ones(pixels.shape, bool)
    outlines = np.concatenate([part.outlines for part in simplified(pixels, everywhere, 16, 1.5)])
    assert shapely.get_num_coordinates(outlines).sum() <= 14
    assert shapely.area(outlines).sum() == pixels.size
    assert shapely.coverage_is_valid(outlines)


def test_distances_are_those_on_the_ground() -> None:
    pixels = np.ones((12, 12), np.uint8)
    pixels[6:] = 2
    pixels[5, 4:8] = 2  # a bump one pixel high
    everywhere = np.ones(pixels.shape, bool)
    for ground, stays in (((1.0, -10.0), True), ((10.0, -1.0), False)):
        parts = simplified(pixels, everywhere, 99, 3.0, np.diag(ground))
        upper = next(each for part in parts for each in part.outlines if each.bounds[1] == 0)
        assert (upper.area == 68) is stays
