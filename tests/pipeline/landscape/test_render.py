"""Pixels of canonical blocks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import shapely
from affine import Affine

from rasterloom.pipeline.landscape.classes import BUILDING, FOREST, WATER
from rasterloom.pipeline.landscape.layers import block_features
from rasterloom.pipeline.landscape.render import SIDE, burn, render_block


def test_a_block_is_the_same_whatever_was_rendered_before_and_on_which_thread():
    places = [(0, 1), (1, 0), (0, 0), (1, 1)]
    first = [render_block(4, 1.0, *place) for place in places]
    block_features.cache_clear()
    with ThreadPoolExecutor(3) as pool:
        second = list(pool.map(lambda place: render_block(4, 1.0, *place), reversed(places)))
    for one, other in zip(first, reversed(second), strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.classes, other.classes)


@pytest.mark.parametrize("cell_size", [0.5, 1.0, 2.5])
def test_a_block_has_four_bands_and_a_class_in_every_pixel(cell_size):
    block = render_block(1, cell_size, -1, 2)
    assert block.pixels.shape == (4, SIDE, SIDE)
    assert block.classes.shape == (SIDE, SIDE)
    assert block.pixels.dtype == block.classes.dtype == np.uint8
    assert block.classes.min() >= 1
    assert block.classes.max() <= 6
    assert block.pixels.std(axis=(1, 2)).min() > 10


def test_another_seed_is_another_landscape():
    assert (render_block(1, 1.0, 0, 0).classes != render_block(2, 1.0, 0, 0).classes).mean() > 0.3


def test_water_is_dark_in_the_infrared_and_forest_darker_than_the_ground_around():
    blocks = [render_block(0, 1.0, row, col) for row in (0, 1) for col in (0, 1)]
    pixels = np.concatenate([b.pixels.reshape(4, -1) for b in blocks], axis=1)
    classes = np.concatenate([b.classes.ravel() for b in blocks])
    assert pixels[3, classes == WATER].mean() < 0.5 * pixels[3].mean()
    assert pixels[1, classes == FOREST].mean() < 0.85 * pixels[1].mean()


def test_the_ground_is_darker_on_the_shadow_side_of_buildings():
    block = render_block(0, 1.0, 1, 1)
    roof = block.classes == BUILDING
    brightness = block.pixels.mean(axis=0)

    def beside(down, right):
        moved = np.roll(roof, (down, right), axis=(0, 1)) & ~roof
        moved[:8], moved[-8:], moved[:, :8], moved[:, -8:] = False, False, False, False
        return brightness[moved].mean()

    assert roof.any()
    assert beside(-4, -2) < 0.75 * beside(4, 2)


def test_burned_rings_cover_the_pixels_whose_centre_they_hold_and_the_later_one_wins():
    rng = np.random.default_rng(3)
    rings = [rng.uniform(-10, 50, 2) + rng.uniform(-15, 15, (3, 2)) for _ in range(12)]
    values = np.arange(1, 13)
    burned = burn(rings, values, (40, 40), Affine.identity())
    y, x = np.mgrid[0.5:40, 0.5:40]
    expected = np.zeros((40, 40), int)
    for ring, value in zip(rings, values, strict=True):
        expected[shapely.contains_xy(shapely.polygons(ring), x, y)] = value
    assert np.array_equal(burned, expected)
