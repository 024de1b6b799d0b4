"""Features of all layers, by block and by window."""

import numpy as np
import pytest
import shapely

from rasterloom.pipeline.landscape.classes import LANDSCAPE_CLASSES
from rasterloom.pipeline.landscape.features import BLOCK
from rasterloom.pipeline.landscape.layers import LAYERS, block_features, features_in

BLOCKS = [(row, col) for row in range(-1, 3) for col in range(-1, 3)]


def shapes_of(features):
    return shapely.polygons([shapely.linearrings(features.ring(i)) for i in range(len(features))])


@pytest.mark.parametrize("layer", range(len(LAYERS)))
@pytest.mark.parametrize("seed", [0, 11])
def test_features_are_valid_and_reach_less_than_a_block_beyond_their_own(layer, seed):
    total = 0
    for row, col in BLOCKS:
        features = block_features(seed, layer, row, col)
        total += len(features)
        if len(features):
            assert shapely.is_valid(shapes_of(features)).all()
            corner = np.array([col, row, col, row]) * BLOCK
            reach = (features.bounds - corner) * [-1, -1, 1, 1] - [0, 0, BLOCK, BLOCK]
            assert reach.max() < BLOCK
    assert total > 0


def test_whole_parcels_tile_the_plane():
    whole = [shapes_of(block_features(2, 0, row, col))[:36] for row, col in BLOCKS]
    cells = np.concatenate(whole)
    together = shapely.union_all(cells)
    assert shapely.area(cells).sum() == pytest.approx(together.area, abs=1e-6)
    assert together.geom_type == "Polygon"
    assert len(together.interiors) == 0


def test_features_of_a_part_are_those_of_the_whole_in_the_same_order():
    part, whole = (300.0, 200.0, 900.0, 800.0), (-400.0, 0.0, 1900.0, 1500.0)
    inner, outer = features_in(6, part), features_in(6, whole)
    again = outer.take(outer.touching(part))
    assert np.array_equal(inner.vertices, again.vertices)
    assert np.array_equal(inner.values, again.values)
    assert np.array_equal(inner.looks, again.looks)


def test_buildings_have_the_sides_that_are_promised():
    features = block_features(3, len(LAYERS) - 1, 0, 0)
    rings = features.vertices.reshape(-1, 4, 2)
    sides = np.linalg.norm(rings - np.roll(rings, -1, axis=1), axis=2)
    assert sides.min() > 11.9
    assert sides.max() < 30.1
    assert (features.heights > 0).all()


def test_every_class_occurs_among_the_features_of_a_few_blocks():
    seen = {int(v) for layer in range(len(LAYERS)) for v in block_features(0, layer, 0, 0).values}
    assert seen == {info.value for info in LANDSCAPE_CLASSES}
