import pickle
import tempfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import box

from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.chips.places import corners as corners_of, window_of
from rasterloom.pipeline.chips.plan import Cutting, plan_chips
from rasterloom.pipeline.chips.splits import Split
from rasterloom.pipeline.rasters.grid import Window
from tests.support.chips import bare_raster, make_source
from tests.support.labels import square_labels

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
wide = st.tuples(st.integers(12, 40), st.integers(12, 40))
RASTER = bare_raster()
FOLDER = tempfile.TemporaryDirectory(prefix="rasterloom-plan-")


def source_of(labels=None, raster=RASTER, **more):
    return make_source(raster, labels, Path(FOLDER.name), **more)


def squares(**more):
    return square_labels(height=200, width=300, **more)


def frame(geometries):
    return geopandas.GeoDataFrame(geometry=geometries, crs="EPSG:32633")


def plan_of(source, tile=(32, 32), stride=None, *, cutting=None, **more):
    sources = source if isinstance(source, list) else [source]
    how = Cutting("Classified_Tiles", tile, stride or tile, **(cutting or {}))
    return plan_chips(sources, how, **more)


def corners(plan):
    return list(zip(plan.chips["row"].tolist(), plan.chips["col"].tolist(), strict=True))


LABELLED = source_of(squares())


@settings(max_examples=20, deadline=None)
@given(tile=sizes, stride=sizes)
def test_all_whole_chips_come_in_row_major_order(tile, stride):
    plan = plan_of(LABELLED, tile, stride, all_tiles=True)
    expected = [
        (row, col)
        for row in range(0, 200, stride[0])
        for col in range(0, 300, stride[1])
        if row + tile[0] <= 200 and col + tile[1] <= 300
    ]
    assert corners(plan) == expected
    assert plan.chips["number"].tolist() == list(range(len(expected)))


@settings(max_examples=25, deadline=None)
@given(tile=wide, stride=wide, seed=st.integers(0, 50), share=st.sampled_from([0.0, 0.3, 1.0]))
def test_only_chips_that_a_feature_overlaps_are_kept(tile, stride, seed, share):
    labels = squares(seed=seed, count=5)
    source = source_of(labels)
    every = plan_of(source, tile, stride, all_tiles=True)
    ground = np.array([box(*RASTER.grid.window_bounds(window_of(chip))) for chip in every.chips])
    outlined = np.asarray(labels.geometry.array, object)
    shared = shapely.area(shapely.intersection(ground[:, None], outlined[None]))
    whole = shapely.area(outlined)[None]
    try:
        kept = plan_of(source, tile, stride, cutting={"min_share": share})
    except LabelError:
        kept = None
    numbers = set() if kept is None else set(kept.chips["number"].tolist())
    # chips that a feature reaches into by less than a thousandth of a pixel may go either way
    sure = ((shared > 0.1) & (shared > (share + 1e-6) * whole)).any(axis=1)
    possible = ((shared > 0) & (shared >= (share - 1e-6) * whole)).any(axis=1)
    assert set(np.flatnonzero(sure).tolist()) <= numbers <= set(np.flatnonzero(possible).tolist())


def test_a_feature_that_only_touches_a_chip_does_not_overlap_it():
    source = source_of(frame([box(500010, 4999940, 500020, 4999950)]))
    plan = plan_of(source, (10, 10))
    assert corners(plan) == [(50, 10)]
    assert plan.chips["number"].tolist() == [5 * 30 + 1]


def test_many_features_in_few_blocks_of_chips_are_found_one_block_after_the_other(monkeypatch):
    source = source_of(squares(count=400, side=(1.0, 12.0)))
    expected = corners(plan_of(source, (8, 8), (5, 5)))
    monkeypatch.setattr("rasterloom.pipeline.chips.scan._BLOCK", 100)
    assert corners(plan_of(source, (8, 8), (5, 5))) == expected


def test_a_raster_smaller_than_a_chip_gives_one():
    plan = plan_of(source_of(raster=bare_raster(40, 90)), (64, 64), (16, 16))
    assert corners(plan) == [(0, 0), (0, 16)]


def test_chips_start_at_the_extent():
    plan = plan_of(source_of(squares(), extent=Window(7, 11, 70, 65)), all_tiles=True)
    assert corners(plan) == [(7, 11), (7, 43), (39, 11), (39, 43)]


def test_only_chips_completely_inside_the_mask_are_kept():
    # two polygons that meet in the middle of a chip hold it together
    mask = shapely.union_all([box(500000, 4999936, 500080, 5000000), box(500080, 4999936, 500128, 5000000)])
    plan = plan_of(source_of(mask=mask))
    assert corners(plan) == [(row, col) for row in (0, 32) for col in (0, 32, 64, 96)]
    turned = plan_of(source_of(mask=mask), cutting={"angle": 45.0})
    # turned by an eighth, a chip reaches beyond its own place
    assert set(turned.chips["turn"][turned.chips["row"] == 0].tolist()) == {0, 2, 4, 6}


def test_no_chip_at_all_is_an_error_with_a_way_out():
    source = source_of(frame([box(500290, 4999800, 500300, 4999805)]))
    with pytest.raises(LabelError, match="exportAllTiles"):
        plan_of(source, (64, 64))


@pytest.mark.parametrize("setting", [{"tile": (0, 8)}, {"stride": (8, 0)}, {"start_index": -1}])
def test_sizes_below_one_are_refused(setting):
    with pytest.raises(SettingError, match="1 or more"):
        plan_of(LABELLED, **{"tile": (8, 8), **setting})


@pytest.mark.parametrize(
    ("angle", "turns"), [(0.0, 1), (90.0, 4), (100.0, 4), (359.0, 2), (120.0, 3), (7.0, 52)]
)
def test_turns_stop_before_the_whole_circle(angle, turns):
    plan = plan_of(source_of(), (100, 100), cutting={"angle": angle}, start_index=1000)
    assert len(plan) == 6 * turns
    assert plan.chips["number"].tolist() == list(range(1000, 1000 + 6 * turns))
    assert plan.chips["turn"].tolist() == 6 * list(range(turns))


def test_sources_follow_each_other_and_so_do_their_numbers():
    plan = plan_of([source_of(frame([box(500290, 4999800, 500299, 4999805)])), LABELLED], (50, 50))
    first = plan.chips[plan.chips["source"] == 0]
    assert first["number"].tolist() == [23]
    assert plan.chips["number"][1:].min() >= 24
    assert (np.diff(plan.chips["number"]) > 0).all()


@pytest.mark.parametrize("fixed", [True, False])
def test_centred_chips_hold_the_middle_of_their_feature(fixed):
    labels = squares(count=30)
    plan = plan_of(source_of(labels), cutting={"centred": True, "fixed_size": fixed}, tile=(20, 24))
    assert sorted(plan.chips["feature"].tolist()) == list(range(30))
    for chip in plan.chips:
        west, south, east, north = labels.geometry.iloc[chip["feature"]].bounds
        cols, rows = np.array([west, east]) - 500000, 5000000 - np.array([north, south])
        assert chip["value"] == labels.classvalue.iloc[chip["feature"]]
        middle = chip["row"] + chip["height"] / 2, chip["col"] + chip["width"] / 2
        if fixed:
            assert (chip["height"], chip["width"]) == (20, 24)
            assert abs(middle[0] - rows.mean()) <= 0.5
            assert abs(middle[1] - cols.mean()) <= 0.5
        else:
            assert chip["height"] == min(20, np.ceil(rows[1]) - np.floor(rows[0])) or chip["height"] == 20
            assert chip["row"] <= rows.mean() <= chip["row"] + chip["height"]
            assert chip["col"] <= cols.mean() <= chip["col"] + chip["width"]
            assert chip["width"] <= 24


def test_parts_of_a_split_never_touch():
    cutting = {"angle": 30.0}
    split = Split((0.6, 0.2, 0.2), 64, 3)
    plan = plan_of(source_of(), (16, 16), (8, 8), cutting=cutting, split=split)
    assert plan.left_out > 0
    assert len(plan) + plan.left_out == len(plan_of(source_of(), (16, 16), (8, 8), cutting=cutting))
    ground = shapely.polygons(corners_of(plan.chips, RASTER.grid, 30.0))
    parts = {part: shapely.union_all(ground[plan.chips["split"] == part]) for part in (1, 2, 3)}
    for one, other in ((1, 2), (1, 3), (2, 3)):
        assert shapely.distance(parts[one], parts[other]) >= 2.0
    shares = np.bincount(plan.chips["split"], minlength=4)[1:] / len(plan)
    assert np.abs(shares - [0.6, 0.2, 0.2]).max() < 0.2


def test_a_split_in_which_nothing_fits_says_what_would():
    with pytest.raises(LabelError, match="larger split_block_size"):
        plan_of(
            source_of(extent=Window(4, 4, 30, 45)), (30, 30), (30, 15), split=Split((0.5, 0.5, 0.0), 32, 1)
        )


def test_a_part_without_chips_is_told_of():
    with pytest.warns(UserWarning, match="no chip to val: .*smaller split_block_size"):
        plan_of(source_of(extent=Window(4, 4, 30, 30)), (30, 30), split=Split((0.5, 0.5, 0.0), 32, 1))


def test_the_id_follows_everything_the_chips_depend_on():
    plans = [
        plan_of(LABELLED, all_tiles=True),
        plan_of(LABELLED, (32, 31), all_tiles=True),
        plan_of(LABELLED, (32, 32), (32, 31), all_tiles=True),
        plan_of(source_of(squares(), extent=Window(0, 0, 100, 100)), all_tiles=True),
        plan_of(LABELLED, all_tiles=True, start_index=5),
        plan_of(source_of(squares(seed=1)), all_tiles=True),
        plan_of(source_of(squares(), raster=bare_raster(cell=0.99)), all_tiles=True),
        plan_of(LABELLED, all_tiles=True, cutting={"angle": 90.0}),
        plan_of(LABELLED, all_tiles=True, cutting={"min_share": 0.5}),
        plan_of(LABELLED, all_tiles=True, split=Split((0.5, 0.5, 0.0), 100, 0)),
        plan_of(LABELLED, all_tiles=True, split=Split((0.5, 0.5, 0.0), 100, 1)),
    ]
    assert len({plan.id for plan in plans}) == len(plans)
    again = plan_of(source_of(squares()), all_tiles=True)
    assert again.id == plans[0].id == pickle.loads(pickle.dumps(plans[0])).id


def test_a_quarter_of_a_million_chips_are_planned_within_seconds():
    source = source_of(squares(), raster=bare_raster(8192, 8192))
    plan = plan_of(source, (32, 32), (16, 16), all_tiles=True)
    assert len(plan) == 511 * 511
    assert len(plan_of(source, (32, 32), (16, 16))) < 500
