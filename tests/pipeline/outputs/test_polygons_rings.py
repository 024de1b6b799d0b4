"""Rings close where they should, and what a cell knows whole leaves it at once."""

import numpy as np
import pytest
import shapely

from rasterloom.pipeline.outputs.polygons_rings import settle
from rasterloom.pipeline.outputs.polygons_trace import trace
from rasterloom.pipeline.rasters.grid import Window


@pytest.mark.parametrize(
    ("rows", "holes"),
    [
        (["111", "101", "110"], 1),  # the ring closes at a corner
        (["1111", "1011", "1101", "1111"], 2),  # two holes touch
        (["11", "11"], 0),
    ],
)
def test_a_face_that_meets_itself_at_a_corner_is_one_valid_polygon(rows: list[str], holes: int) -> None:
    pixels = np.array([[int(sign) for sign in row] for row in rows], np.uint8)
    patch = trace(pixels, pixels == 1, Window(0, 0, *pixels.shape), pixels.shape)
    found, rest = settle(patch)
    (outline,) = found.outlines
    assert outline.is_valid
    assert len(outline.interiors) == holes
    assert outline.area == (pixels == 1).sum()
    assert len(rest.faces) == 1


def test_only_what_touches_an_open_side_stays_behind() -> None:
    pixels = np.zeros((6, 6), np.uint8)
    pixels[1:3, 1:3], pixels[4, 5] = 1, 2
    patch = trace(pixels, pixels > 0, Window(0, 0, 6, 6), (6, 12))
    found, rest = settle(patch)
    assert found.values.tolist() == [1]
    assert rest.faces.values[1:].tolist() == [2]
    assert rest.right.tolist() == [0, 0, 0, 0, 1, 0]


def test_what_is_too_small_is_left_out_and_what_is_large_enough_keeps_its_hole() -> None:
    pixels = np.ones((5, 5), np.uint8)
    pixels[2, 2] = 2
    patch = trace(pixels, pixels > 0, Window(0, 0, 5, 5), (5, 5))
    found, _ = settle(patch, least_pixels=2)
    assert found.values.tolist() == [1]
    assert shapely.area(found.outlines).tolist() == [24]
