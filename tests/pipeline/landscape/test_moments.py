"""The landscape at two dates."""

import numpy as np
import pytest

from rasterloom.pipeline.landscape.buildings import buildings
from rasterloom.pipeline.landscape.classes import BUILDING, BUILT, FIELD, GONE, NO_CHANGE
from rasterloom.pipeline.landscape.layers import LAYERS, block_features, features_in
from rasterloom.pipeline.landscape.looks import Look
from rasterloom.pipeline.landscape.moments import (
    AFTER,
    BEFORE,
    USUAL,
    changed_buildings,
    fates,
    features_at,
)
from rasterloom.pipeline.landscape.render import SIDE, burn_changes, render_block

BOX = (-500.0, 200.0, 1800.0, 1900.0)


def rings_of(features, value):
    return {features.ring(i).tobytes() for i in np.flatnonzero(features.values == value)}


def test_some_buildings_are_built_and_some_go_and_the_others_stay():
    every, before, after = (rings_of(f, BUILDING) for f in _moments())
    assert before < every
    assert after < every
    assert before | after == every
    assert 0.15 < len(after - before) / len(every) < 0.35
    assert 0.07 < len(before - after) / len(every) < 0.25


def _moments():
    return features_in(3, BOX), features_at(3, BOX, BEFORE), features_at(3, BOX, AFTER)


def test_everything_else_stays_where_it_is_in_the_same_order():
    every, before, after = _moments()
    for moment in (before, after):
        still = moment.take(np.flatnonzero(moment.values != BUILDING))
        usual = every.take(np.flatnonzero(every.values != BUILDING))
        assert np.array_equal(still.vertices, usual.vertices)
        assert np.array_equal(still.values, usual.values)
        fields = still.values == FIELD
        assert np.array_equal(still.looks[~fields], usual.looks[~fields])
        assert (still.looks[fields, Look.RED] != usual.looks[fields, Look.RED]).all()
        assert np.array_equal(still.looks[:, Look.STRIPES :], usual.looks[:, Look.STRIPES :])


def test_the_usual_moment_is_the_landscape_itself():
    usual, every = features_at(3, BOX, USUAL), features_in(3, BOX)
    assert np.array_equal(usual.vertices, every.vertices)
    assert np.array_equal(usual.looks, every.looks)


def test_a_part_shows_what_the_whole_shows_there():
    part = (100.0, 300.0, 700.0, 900.0)
    inner, outer = features_at(6, part, AFTER), features_at(6, BOX, AFTER)
    again = outer.take(outer.touching(part))
    assert np.array_equal(inner.vertices, again.vertices)
    assert np.array_equal(inner.looks, again.looks)


def test_changed_buildings_carry_their_fate():
    for place in [(0, 0), (1, 2), (-1, 0)]:
        found = fates(3, *place)
        owned = block_features(3, LAYERS.index(buildings), *place)
        changed = changed_buildings(3, *place)
        assert set(found) <= {NO_CHANGE, BUILT, GONE}
        assert len(found) == len(owned)
        assert changed.values.tolist() == found[found != NO_CHANGE].tolist()
        assert (owned.values == BUILDING).all()  # what is kept for others has not been touched


def test_what_changed_is_a_building_at_one_date_only():
    before, after = (render_block(3, 1.0, 0, 1, moment) for moment in (BEFORE, AFTER))
    change = burn_changes(3, 1.0, 0, 1)
    differs = (before.classes == BUILDING) != (after.classes == BUILDING)
    assert change.shape == (SIDE, SIDE)
    assert set(np.unique(change)) == {NO_CHANGE, BUILT, GONE}
    # where a changed building reaches into one that stays, a building stands at both dates
    assert not (differs & (change == NO_CHANGE)).any()
    assert ((change != NO_CHANGE) & ~differs).mean() < 1e-3
    assert (after.classes[change == BUILT] == BUILDING).all()
    assert (before.classes[change == GONE] == BUILDING).all()
    same = change == NO_CHANGE
    assert np.array_equal(before.classes[same], after.classes[same])


def test_light_and_noise_differ_between_the_dates_and_shadows_fall_to_other_sides():
    usual, before, after = (
        render_block(3, 1.0, 0, 1, moment).pixels.astype(int) for moment in (USUAL, BEFORE, AFTER)
    )
    for one, other in ((before, after), (usual, before), (usual, after)):
        assert (one != other).mean() > 0.8
        assert 2 < np.abs(one - other).mean() < 40


@pytest.mark.parametrize("moment", [BEFORE, AFTER])
def test_a_block_is_the_same_whenever_it_is_rendered(moment):
    first, second = (render_block(5, 2.0, -1, 1, moment) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)
