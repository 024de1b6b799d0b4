import pickle

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import box

from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.chips.plan import plan_chips
from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.raster import Raster
from tests.support.labels import square_labels

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
wide = st.tuples(st.integers(12, 40), st.integers(12, 40))


def make_raster(height=200, width=300, cell=1.0):
    grid = Grid("EPSG:32633", (cell, 0.0, 500000.0, 0.0, -cell, 5000000.0), height, width)
    bands = ("Red", "Green", "Blue")
    return Raster("scene.tif", "scene.tif", None, grid, grid, bands, "uint8", None, "bilinear", "etag")


def make_labels(raster, **settings):
    return read_features(square_labels(height=200, width=300, **settings), grid=raster.grid)


def labels_of(raster, geometries):
    return read_features(geopandas.GeoDataFrame(geometry=geometries, crs="EPSG:32633"), grid=raster.grid)


RASTER = make_raster()
LABELS = make_labels(RASTER)


def corners(plan):
    return [tuple(corner) for corner in plan.corners.tolist()]


@settings(max_examples=20, deadline=None)
@given(tile=sizes, stride=sizes)
def test_all_whole_chips_come_in_row_major_order(tile, stride):
    plan = plan_chips(RASTER, LABELS, tile=tile, stride=stride, all_tiles=True)
    expected = [
        (row, col)
        for row in range(0, 200, stride[0])
        for col in range(0, 300, stride[1])
        if row + tile[0] <= 200 and col + tile[1] <= 300
    ]
    assert corners(plan) == expected


@settings(max_examples=25, deadline=None)
@given(tile=wide, stride=wide, seed=st.integers(0, 50))
def test_only_chips_that_a_feature_overlaps_are_kept(tile, stride, seed):
    labels = make_labels(RASTER, seed=seed, count=5)
    every = plan_chips(RASTER, labels, tile=tile, stride=stride, all_tiles=True)
    ground = np.array([box(*RASTER.grid.window_bounds(every.window(chip))) for chip in range(len(every))])
    shared = shapely.area(shapely.intersection(ground[:, None], labels.geometries[None]))
    kept = set(corners(plan_chips(RASTER, labels, tile=tile, stride=stride)))
    # chips that a feature reaches into by less than a thousandth of a pixel may go either way
    sure, possible = (shared > 0.1).any(axis=1), (shared > 0).any(axis=1)
    assert {tuple(c) for c in every.corners[sure].tolist()} <= kept
    assert kept <= {tuple(c) for c in every.corners[possible].tolist()}


def test_a_feature_that_only_touches_a_chip_does_not_overlap_it():
    labels = labels_of(RASTER, [box(500010, 4999940, 500020, 4999950)])
    assert corners(plan_chips(RASTER, labels, tile=(10, 10), stride=(10, 10))) == [(50, 10)]


def test_a_raster_smaller_than_a_chip_gives_one():
    plan = plan_chips(make_raster(40, 90), LABELS, tile=(64, 64), stride=(16, 16), all_tiles=True)
    assert corners(plan) == [(0, 0), (0, 16)]


def test_chips_start_at_the_extent():
    plan = plan_chips(
        RASTER, LABELS, tile=(32, 32), stride=(32, 32), extent=Window(7, 11, 70, 65), all_tiles=True
    )
    assert corners(plan) == [(7, 11), (7, 43), (39, 11), (39, 43)]


def test_only_chips_completely_inside_the_mask_are_kept():
    # two polygons that meet in the middle of a chip hold it together
    mask = shapely.union_all([box(500000, 4999936, 500080, 5000000), box(500080, 4999936, 500128, 5000000)])
    plan = plan_chips(RASTER, LABELS, tile=(32, 32), stride=(32, 32), mask_polygons=mask, all_tiles=True)
    assert corners(plan) == [(row, col) for row in (0, 32) for col in (0, 32, 64, 96)]


def test_no_chip_at_all_is_an_error_with_a_way_out():
    labels = labels_of(RASTER, [box(500290, 4999800, 500300, 4999805)])
    with pytest.raises(LabelError, match="exportAllTiles"):
        plan_chips(RASTER, labels, tile=(64, 64), stride=(64, 64))


@pytest.mark.parametrize("setting", [{"tile": (0, 8)}, {"stride": (8, 0)}, {"start_index": -1}])
def test_sizes_below_one_are_refused(setting):
    with pytest.raises(SettingError, match="1 or more"):
        plan_chips(RASTER, LABELS, **{"tile": (8, 8), "stride": (8, 8), **setting})


def test_the_id_follows_everything_the_chips_depend_on():
    usual = {"tile": (32, 32), "stride": (32, 32), "all_tiles": True}
    plans = [
        plan_chips(RASTER, LABELS, **usual),
        plan_chips(RASTER, LABELS, **{**usual, "tile": (32, 31)}),
        plan_chips(RASTER, LABELS, **{**usual, "stride": (32, 31)}),
        plan_chips(RASTER, LABELS, **usual, extent=Window(0, 0, 100, 100)),
        plan_chips(RASTER, LABELS, **usual, start_index=5),
        plan_chips(RASTER, make_labels(RASTER, seed=1), **usual),
        plan_chips(make_raster(cell=0.99), LABELS, **usual),
    ]
    assert len({plan.id for plan in plans}) == len(plans)
    assert plan_chips(RASTER, LABELS, **usual).id == plans[0].id == pickle.loads(pickle.dumps(plans[0])).id


def test_a_quarter_of_a_million_chips_are_planned_within_seconds():
    raster = make_raster(8192, 8192)
    labels = make_labels(raster)
    plan = plan_chips(raster, labels, tile=(32, 32), stride=(16, 16), all_tiles=True)
    assert len(plan) == 511 * 511
    assert plan.corners.dtype == np.int64
    assert len(plan_chips(raster, labels, tile=(32, 32), stride=(16, 16))) < 500
