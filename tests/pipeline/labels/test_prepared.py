import numpy as np
import pyarrow.parquet
import shapely

from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.labels.prepared import ROW_GROUP, read_prepared, write_prepared
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
