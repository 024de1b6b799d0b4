"""Outlines as GeoParquet."""

import json

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from rasterloom.pipeline.landscape import outlines
from rasterloom.pipeline.landscape.outlines import scene_features, write_outlines
from rasterloom.pipeline.landscape.write import scene_grid

GRID = scene_grid(1300, cell_size=1.0, crs="EPSG:32633")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outlines")
    plain, degrees = folder / "plain.parquet", folder / "degrees.parquet"
    count = write_outlines(scene_features(0, GRID), GRID, {plain: GRID.crs, degrees: "EPSG:4326"})
    return plain, degrees, count


def test_each_feature_that_meets_the_scene_appears_once_and_some_reach_over_its_edge(files):
    plain, _, count = files
    frame = geopandas.read_parquet(plain)
    scene = shapely.box(*GRID.bounds)
    assert len(frame) == count == len(set(frame.geometry.to_wkb()))
    assert frame.geometry.intersects(scene).all()
    assert not frame.geometry.within(scene).all()
    assert frame.geometry.is_valid.all()


def test_class_values_and_names_go_together(files):
    frame = geopandas.read_parquet(files[0])
    pairs = frame.groupby("classvalue")["classname"].unique().to_dict()
    assert {value: list(names) for value, names in pairs.items()} == {
        1: ["Field"],
        2: ["Grassland"],
        3: ["Forest"],
        4: ["Water"],
        5: ["Road"],
        6: ["Building"],
    }


def test_both_files_hold_the_same_features_in_the_same_order(files):
    plain, degrees, _ = files
    near, far = geopandas.read_parquet(plain), geopandas.read_parquet(degrees)
    assert near.crs == "EPSG:32633"
    assert far.crs == "EPSG:4326"
    assert near["classvalue"].tolist() == far["classvalue"].tolist()
    moved = far.geometry.to_crs(near.crs)
    assert shapely.hausdorff_distance(near.geometry.values, moved.values).max() < 1e-3


def test_a_reader_can_skip_by_bounding_box(files):
    plain, _, _ = files
    column = json.loads(pq.read_metadata(plain).metadata[b"geo"])["columns"]["geometry"]
    frame = geopandas.read_parquet(plain)
    assert column["bbox"] == list(frame.total_bounds)
    west, _, _, north = GRID.bounds
    corner = (west, north - 200, west + 200, north)
    some = geopandas.read_parquet(plain, bbox=corner)
    assert 0 < len(some) < len(frame)
    assert (
        len(some)
        == frame.geometry.bounds.pipe(
            lambda b: (
                (b.minx <= corner[2]) & (b.maxx >= corner[0]) & (b.miny <= corner[3]) & (b.maxy >= corner[1])
            )
        ).sum()
    )


def test_features_are_handed_on_in_parts(monkeypatch):
    whole = list(scene_features(0, GRID))
    monkeypatch.setattr(outlines, "_ROWS", 40)
    parts = list(scene_features(0, GRID))
    assert len(parts) > len(whole)
    # A part ends with the block that fills it.
    assert max(map(len, parts)) < 40 + 250
    assert np.array_equal(
        np.concatenate([p.vertices for p in parts]), np.concatenate([p.vertices for p in whole])
    )
