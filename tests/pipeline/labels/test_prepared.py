import pickle
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import shapely
from shapely.geometry import Polygon

from rasterloom.models.errors import LabelError, OutputError, SettingError
from rasterloom.pipeline.labels import blocks, ordering
from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.labels.prepared import (
    ROW_GROUP,
    check_areas,
    iter_prepared,
    prepare_features,
    read_prepared,
    write_prepared,
)
from rasterloom.pipeline.rasters.grid import Grid
from tests.support.labels import square_labels

GRID = Grid("EPSG:32633", (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 4000, 4000)


def many(count):
    return read_features(square_labels(height=4000, width=4000, count=count), grid=GRID)


def test_a_rectangle_gives_its_features_in_file_order(tmp_path):
    labels = many(500)
    write_prepared(labels, tmp_path / "labels.parquet")
    for seed in range(10):
        west, south = np.random.default_rng(seed).uniform((500000, 4996000), (503500, 4999500))
        bounds = (west, south, west + 500, south + 500)
        near = read_prepared(tmp_path / "labels.parquet", bounds)
        expected = labels.touching(bounds)
        assert near.values.tolist() == labels.values[expected].tolist()
        assert shapely.equals_exact(near.geometries, labels.geometries[expected]).all()
        assert near.classes == labels.classes


def test_a_strip_of_the_raster_lies_in_few_row_groups(tmp_path):
    labels = many(10 * ROW_GROUP)
    path = tmp_path / "labels.parquet"
    write_prepared(labels, path)
    statistics = [
        (group.column(3).statistics.min, group.column(5).statistics.max)
        for group in map(pyarrow.parquet.read_metadata(path).row_group, range(10))
    ]
    met = [1 for south, north in statistics if south <= 4998000 and north >= 4997744]
    assert len(met) <= 2


def test_a_rectangle_without_features_gives_none(tmp_path):
    write_prepared(many(20), tmp_path / "labels.parquet")
    assert len(read_prepared(tmp_path / "labels.parquet", (0.0, 0.0, 1.0, 1.0))) == 0


def frame(geometries, crs="EPSG:32633", **columns):
    return geopandas.GeoDataFrame(columns, geometry=geometries, crs=crs)


def square(col, row, side=10.0):
    return shapely.box(500000 + col, 5000000 - row - side, 500000 + col + side, 5000000 - row)


def everything(path):
    parts = list(iter_prepared(path))
    order = np.argsort(np.concatenate([part.positions for part in parts]))
    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("geometries", "values"))
    return [
        np.sort(np.concatenate([part.positions for part in parts])),
        *(column[order] for column in columns),
    ]


def save(layer, path):
    if path.suffix == ".parquet":
        options = {"geometry_encoding": "geoarrow"} if path.stem == "arrow" else {}
        layer.to_parquet(path, write_covering_bbox=path.stem == "covered", row_group_size=700, **options)
    else:
        layer.to_file(path)
    return path


FILES = ["a.gpkg", "a.shp", "a.fgb", "a.parquet", "covered.parquet", "arrow.parquet"]


@pytest.mark.parametrize("name", [None, *FILES])
@pytest.mark.parametrize("block", [50, 4096])
def test_a_layer_in_blocks_gives_what_it_gives_at_once(tmp_path, monkeypatch, name, block):
    layer = square_labels(height=6000, width=6000, count=2000)
    source = layer if name is None else save(layer, tmp_path / name)
    whole = read_features(layer if name == "a.fgb" else source, grid=GRID)
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(ordering, "RUN", (300, 1 << 20))
    prepared = prepare_features(source, tmp_path / "out.parquet", grid=GRID)
    positions, geometries, values = everything(prepared.path)
    assert prepared.count == len(whole)
    assert prepared.classes == whole.classes
    if name == "a.fgb":  # its writer sorts the features along a curve
        assert sorted(shapely.to_wkt(geometries)) == sorted(shapely.to_wkt(whole.geometries))
        return
    assert positions.tolist() == whole.positions.tolist()
    assert values.tolist() == whole.values.tolist()
    assert shapely.equals_exact(geometries, whole.geometries).all()
    assert prepared.bounds == pytest.approx(tuple(shapely.total_bounds(whole.geometries)))


def test_the_digest_depends_on_the_features_and_not_on_the_cut(tmp_path, monkeypatch):
    layer = square_labels(height=4000, width=4000, count=900)
    digests = set()
    for block, run in ((4096, 65_536), (70, 100), (333, 64)):
        monkeypatch.setattr(blocks, "BLOCK", block)
        monkeypatch.setattr(ordering, "RUN", (run, 1 << 20))
        path = tmp_path / f"{block}.parquet"
        digests.add(prepare_features(layer, path, grid=GRID).digest)
    digests.add(prepare_features(save(layer, tmp_path / "a.gpkg"), tmp_path / "b.parquet", grid=GRID).digest)
    assert len(digests) == 1
    assert len({(tmp_path / f"{block}.parquet").read_bytes() for block in (4096, 70, 333)}) == 1
    layer["classvalue"] = layer.classvalue[::-1].to_numpy()
    assert prepare_features(layer, tmp_path / "c.parquet", grid=GRID).digest not in digests


def test_a_rectangle_of_prepared_features_is_what_touching_finds(tmp_path):
    labels = many(9000)
    prepared = prepare_features(
        square_labels(height=4000, width=4000, count=9000), tmp_path / "labels.parquet", grid=GRID
    )
    assert pickle.loads(pickle.dumps(prepared)) == prepared
    for seed in range(5):
        west, south = np.random.default_rng(seed).uniform((500000, 4996000), (503500, 4999500))
        bounds = (west, south, west + 800, south + 300)
        near = read_prepared(prepared.path, bounds)
        assert near.positions.tolist() == labels.touching(bounds).tolist()


def test_points_and_lines_become_areas_in_units_of_the_layer(tmp_path):
    point, line = shapely.Point(15.001, 45.1527), shapely.LineString([(15.001, 45.152), (15.002, 45.152)])
    layer = frame([point, line, shapely.box(15.003, 45.152, 15.004, 45.1525)], crs="EPSG:4326")
    layer = layer.to_crs("EPSG:3857")  # in which a length of 14.1 is 10 m on this ground
    prepared = prepare_features(layer, tmp_path / "a.parquet", grid=GRID, buffer_radius=14.142)
    _, geometries, _ = everything(prepared.path)
    west, south, east, north = shapely.bounds(geometries[0])
    assert (east - west, north - south) == pytest.approx((20, 20), rel=0.01)
    assert (shapely.get_dimensions(geometries) == 2).all()
    assert prepared.flat == 0
    check_areas(prepared)


def test_a_point_beside_the_raster_counts_when_its_disc_reaches_it(tmp_path):
    layer = frame([shapely.Point(499995, 4999900), shapely.Point(499000, 4999900)])
    prepared = prepare_features(layer, tmp_path / "a.parquet", grid=GRID, buffer_radius=10)
    assert prepared.count == 1


def test_points_without_a_radius_are_refused_where_objects_need_an_area(tmp_path):
    layer = frame([shapely.Point(500100, 4999900), square(5, 5)])
    prepared = prepare_features(layer, tmp_path / "a.parquet", grid=GRID)
    assert prepared.flat == 1
    with pytest.raises(LabelError, match=r"1 features of trees\.gpkg are points or lines.*buffer_radius"):
        check_areas(prepared, "trees.gpkg")


@pytest.mark.parametrize("radius", [0, -1.0, float("nan"), float("inf")])
def test_a_radius_that_is_no_length_is_refused(tmp_path, radius):
    with pytest.raises(SettingError, match="give a length above 0"):
        prepare_features(frame([square(5, 5)]), tmp_path / "a.parquet", grid=GRID, buffer_radius=radius)


def test_broken_features_are_repaired_and_nothing_else_is_lost(tmp_path):
    bow_tie = Polygon([(500010, 4999990), (500050, 4999950), (500050, 4999990), (500010, 4999950)])
    high = Polygon([(500010, 4999990, 5), (500020, 4999990, 5), (500020, 4999980, 5)])
    holed = square(60, 60, 30).difference(square(70, 70, 5))
    several = shapely.MultiPolygon([square(100, 100), square(120, 100)])
    given = [bow_tie, Polygon(), None, high, holed, several, square(5, 5), square(5, 5)]
    prepared = prepare_features(
        frame(given, art=["große Straße", "b", "c", "b", "b", "b", "b", "c"]),
        tmp_path / "a.parquet",
        grid=GRID,
        class_field="art",
    )
    positions, geometries, values = everything(prepared.path)
    assert positions.tolist() == [0, 3, 4, 5, 6, 7]
    assert values.tolist() == [3, 1, 1, 1, 1, 2]
    assert [c.name for c in prepared.classes] == ["b", "c", "große Straße"]
    assert shapely.is_valid(geometries).all()
    assert not shapely.has_z(geometries).any()
    assert shapely.area(geometries).tolist() == pytest.approx([800, 50, 875, 200, 100, 100])


def test_negative_values_travel_where_they_are_asked_for(tmp_path):
    layer = frame([square(5, 5), square(50, 5)], classvalue=[-7, 70_000])
    prepared = prepare_features(layer, tmp_path / "a.parquet", grid=GRID, negative=True)
    assert everything(prepared.path)[2].tolist() == [-7, 70_000]
    with pytest.raises(LabelError, match="cannot be a class value"):
        prepare_features(layer, tmp_path / "b.parquet", grid=GRID)


@pytest.mark.parametrize("name", [None, "a.gpkg", "covered.parquet"])
def test_a_layer_beside_the_raster_is_refused_with_both_extents(tmp_path, name):
    layer = square_labels(height=100, width=100, origin=(700000.0, 5000000.0))
    source = layer if name is None else save(layer, tmp_path / name)
    with pytest.raises(LabelError, match=r"700\d\d\d.*raster \(500000.0, 4996000.0"):
        prepare_features(source, tmp_path / "out.parquet", grid=GRID)
    assert not (tmp_path / "out.parquet").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"nowhere.*cannot be written"):
        prepare_features(many_frame(), tmp_path / "nowhere" / "a.parquet", grid=GRID)


def many_frame():
    return square_labels(height=4000, width=4000, count=20)


def test_a_geometry_that_cannot_be_decoded_is_an_error_of_its_file(tmp_path):
    path = tmp_path / "a.parquet"
    many_frame().to_parquet(path)
    table = pyarrow.parquet.read_table(path)
    index = table.schema.get_field_index("geometry")
    broken = table.set_column(index, "geometry", pyarrow.array([b"\x01\x03"] * len(table)))
    pyarrow.parquet.write_table(broken.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(LabelError, match=r"a\.parquet holds a geometry that cannot be decoded"):
        prepare_features(path, tmp_path / "out.parquet", grid=GRID)


_RUN = """
import sys
from rasterloom.cluster.memory import peak_memory
from rasterloom.pipeline.labels.prepared import prepare_features
from rasterloom.pipeline.rasters.grid import Grid

grid = Grid("EPSG:32633", (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 4000, 4000)
few, many, output = sys.argv[1:]
prepare_features(few, output, grid=grid)
before = peak_memory()
prepare_features(many, output, grid=grid)
print(peak_memory() - before)
"""


@pytest.mark.parametrize("kind", ["gpkg", "parquet"])
def test_memory_does_not_follow_the_layer(tmp_path, kind):
    files = []
    for count in (50_000, 400_000):
        xy = np.random.default_rng(0).uniform((500000, 4996000), (504000, 5000000), (count, 2))
        layer = frame(shapely.box(*xy.T, *(xy + 3).T), name=[f"house number {n}" for n in range(count)])
        files.append(save(layer, tmp_path / f"{count}.{kind}"))
    words = [sys.executable, "-c", _RUN, *map(str, files), str(tmp_path / "out.parquet")]
    root = Path(__file__).parents[3]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, cwd=root)
    # MB; WKB, coordinates and objects of eight times as many features would be some 200 MB more
    grown = int(ended.stdout) / 1e6
    assert grown < 60
