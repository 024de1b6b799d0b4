"""Outlines as flat arrays."""

import numpy as np
import shapely

from rasterloom.pipeline.landscape.features import blobs, join, nothing, polygons, ribbons, snap
from rasterloom.pipeline.landscape.looks import LOOK_SIZE


def squares(corners, value):
    unit = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    rings = np.array(corners, float)[:, None, :] + unit
    return polygons(rings, value, np.zeros((len(rings), LOOK_SIZE)))


def test_joined_features_keep_their_rings_and_their_order():
    first, second = squares([(0, 0), (10, 0)], 1), squares([(5, 5)], 2)
    joined = join([first, nothing(), second])
    assert joined.values.tolist() == [1, 1, 2]
    assert np.array_equal(joined.ring(1), first.ring(1))
    assert np.array_equal(joined.ring(2), second.ring(0))
    assert np.array_equal(joined.take(np.array([2])).ring(0), second.ring(0))


def test_only_features_whose_box_meets_the_window_touch_it():
    features = squares([(0, 0), (10, 0), (20, 20)], 1)
    assert features.touching((9.0, -5.0, 21.0, 21.0)).tolist() == [1, 2]
    assert features.touching((5.0, 5.0, 9.0, 9.0)).tolist() == []
    assert len(nothing().touching((0.0, 0.0, 1.0, 1.0))) == 0


def test_a_snapped_point_moves_little_and_lies_on_no_pixel_centre():
    points = np.random.default_rng(0).uniform(-500, 500, (1000, 2))
    snapped = snap(points)
    assert np.abs(snapped - points).max() <= 1 / 128
    for cell_size in (0.5, 1.0, 2.0):
        assert ((snapped / cell_size) % 1.0 != 0.5).all()
    assert np.array_equal(snap(snapped), snapped)


def test_a_ribbon_is_as_wide_as_asked():
    line = np.array([[[0.0, 0.0], [50.0, 0.0], [100.0, 0.0]]])
    shape = shapely.polygons(ribbons(line, np.array([10.0]))[0])
    assert shape.bounds == (0.0, -5.0, 100.0, 5.0)
    longer = shapely.polygons(ribbons(line, np.array([10.0]), overrun=1.0)[0])
    assert longer.bounds == (-5.0, -5.0, 105.0, 5.0)


def test_a_blob_is_valid_and_stays_within_its_radius():
    rng = np.random.default_rng(4)
    centres, radii = rng.uniform(0, 1000, (50, 2)), rng.uniform(40, 150, 50)
    rings = blobs(rng, centres, radii, points=40, ragged=0.5)
    assert shapely.is_valid(shapely.polygons(rings)).all()
    distance = np.linalg.norm(rings - centres[:, None, :], axis=2)
    assert (distance <= radii[:, None] + 1e-9).all()
