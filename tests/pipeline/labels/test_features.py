import pickle

import geopandas
import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, Polygon, box

from rasterloom.models.errors import CrsError, LabelError, MissingInputError
from rasterloom.pipeline.labels.features import read_features, read_outline
from rasterloom.pipeline.rasters.grid import Grid
from tests.support.labels import square_labels

GRID = Grid("EPSG:32633", (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 200, 300)


def squares(**settings):
    return square_labels(height=200, width=300, **settings)


def frame(geometries, **columns):
    return geopandas.GeoDataFrame(columns, geometry=geometries, crs="EPSG:32633")


def square(col, row, side=10.0):
    return box(500000 + col, 5000000 - row - side, 500000 + col + side, 5000000 - row)


def test_features_keep_their_order_and_values():
    source = squares(count=20)
    labels = read_features(source, grid=GRID)
    assert labels.values.tolist() == source.classvalue.tolist()
    assert [c.name for c in labels.classes] == ["class 1", "class 2", "class 3"]
    assert shapely.equals(labels.geometries, source.geometry.to_numpy()).all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_labels_in_another_crs_come_to_lie_on_the_same_ground(crs):
    there = read_features(squares().to_crs(crs), grid=GRID)
    here = read_features(squares(), grid=GRID)
    assert shapely.hausdorff_distance(there.geometries, here.geometries).max() < 1e-4


def test_labels_without_a_crs_are_refused():
    with pytest.raises(CrsError, match="no coordinate reference system"):
        read_features(squares(crs=None), grid=GRID)


def test_labels_beside_the_raster_are_refused_with_both_extents():
    far = squares(origin=(700000.0, 5000000.0))
    with pytest.raises(LabelError, match=r"700\d\d\d.*raster \(500000.0, 4999800.0, 500300.0, 5000000.0\)"):
        read_features(far, grid=GRID)


def test_only_features_on_the_raster_are_kept_but_all_classes():
    source = frame([square(10, 10), square(5000, 10)], kind=["b", "a"])
    labels = read_features(source, grid=GRID, class_field="kind")
    assert labels.values.tolist() == [2]
    assert [(c.value, c.name) for c in labels.classes] == [(1, "a"), (2, "b")]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"nowhere\.gpkg"):
        read_features(tmp_path / "nowhere.gpkg", grid=GRID)


def test_broken_geometries_are_repaired_and_empty_ones_dropped():
    bow_tie = Polygon([(500010, 4999990), (500050, 4999950), (500050, 4999990), (500010, 4999950)])
    source = frame([bow_tie, Polygon(), None, square(100, 50)])
    labels = read_features(source, grid=GRID)
    assert len(labels) == 2
    assert shapely.is_valid(labels.geometries).all()
    assert labels.geometries[0].area == pytest.approx(800)


def test_a_repair_never_turns_a_polygon_into_lines():
    spike = Polygon(
        [(500010, 4999990), (500020, 4999990), (500020, 4999980), (500020, 4999999), (500010, 4999980)]
    )
    labels = read_features(frame([spike]), grid=GRID)
    assert labels.geometries[0].geom_type in ("Polygon", "MultiPolygon")


def test_heights_are_dropped():
    high = Polygon([(500010, 4999990, 5), (500020, 4999990, 5), (500020, 4999980, 5)])
    assert not shapely.has_z(read_features(frame([high]), grid=GRID).geometries).any()


def test_coordinates_that_cannot_be_projected_are_dropped():
    source = geopandas.GeoDataFrame(geometry=[Point(15.001, 45.1527), Point(15, 95)], crs="EPSG:4326")
    assert len(read_features(source, grid=GRID)) == 1


def test_touching_answers_in_file_order():
    source = squares(count=200)
    labels = read_features(source, grid=GRID)
    bounds = (500100.0, 4999850.0, 500180.0, 4999930.0)
    expected = np.flatnonzero(shapely.intersects(shapely.envelope(labels.geometries), box(*bounds)))
    assert labels.touching(bounds).tolist() == expected.tolist()


def test_the_tree_is_not_sent_along():
    labels = read_features(squares(), grid=GRID)
    before = len(pickle.dumps(labels))
    assert labels.touching(GRID.bounds).size
    assert len(pickle.dumps(labels)) == before
    assert pickle.loads(pickle.dumps(labels)).touching(GRID.bounds).size == len(labels)


@pytest.mark.parametrize("change", ["geometry", "value", "name"])
def test_the_digest_follows_every_change(change):
    source = squares()
    other = source.copy()
    if change == "geometry":
        other.loc[3, "geometry"] = square(3, 3)
    elif change == "value":
        other["classvalue"] = other.classvalue[::-1].to_numpy()
    else:
        other["classname"] = "new " + other.classname
    digests = {read_features(one, grid=GRID).digest for one in (source, source.copy(), other)}
    assert len(digests) == 2


def test_an_outline_joins_the_polygons_of_a_layer():
    source = frame([MultiPolygon([square(0, 0)]), square(10, 0), Point(500100, 4999900)])
    assert read_outline(source, grid=GRID).area == pytest.approx(200)


def test_an_outline_without_polygons_is_refused():
    with pytest.raises(LabelError, match="no polygons"):
        read_outline(frame([Point(500100, 4999900)]), grid=GRID)
