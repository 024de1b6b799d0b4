import itertools

import geopandas
import pandas
import pyarrow.parquet
import pytest
import shapely
from shapely.geometry import box

from rasterloom.models.errors import CrsError, LabelError
from rasterloom.pipeline.labels.blocks import feature_blocks
from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.labels.layers import layer_crs, near_grid
from rasterloom.pipeline.rasters.grid import Grid
from tests.support.labels import square_labels

GRID = Grid("EPSG:32633", (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 200, 300)


def layer(count=30):
    here = square_labels(height=200, width=300, count=count)
    far = square_labels(height=200, width=300, count=count, origin=(600000.0, 5000000.0))
    far["classname"], far["classvalue"] = "far away", 9
    both = pandas.concat([here, far], ignore_index=True)
    return geopandas.GeoDataFrame(both, geometry="geometry", crs=here.crs)


def save(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path, write_covering_bbox=path.stem == "covered")
    else:
        frame.to_file(path)
    return path


FILES = ["a.gpkg", "a.shp", "a.parquet", "covered.parquet"]


# GeoJSON is always in longitude and latitude
@pytest.mark.parametrize(
    ("name", "crs"),
    [("a.geojson", "EPSG:4326"), *itertools.product(FILES, ["EPSG:32633", "EPSG:4326"])],
)
def test_every_kind_of_file_gives_what_the_frame_gives(tmp_path, name, crs):
    frame = layer().to_crs(crs)
    read = read_features(save(frame, tmp_path / name), grid=GRID)
    expected = read_features(frame, grid=GRID)
    assert read.values.tolist() == expected.values.tolist()
    assert read.classes == expected.classes
    assert shapely.hausdorff_distance(read.geometries, expected.geometries).max() < 0.05


@pytest.mark.parametrize("name", ["a.gpkg", "covered.parquet"])
def test_only_features_near_the_raster_are_read(tmp_path, name):
    frame = layer().to_crs("EPSG:4326")
    path = tmp_path / name
    if path.suffix == ".parquet":
        frame.to_parquet(path, write_covering_bbox=True, row_group_size=10)
    else:
        frame.to_file(path)
    blocks = feature_blocks(path, near=near_grid(GRID, layer_crs(path)))
    assert sorted(position for block in blocks for position in block[0]) == list(range(30))


def test_the_absent_field_of_a_file_lists_its_fields(tmp_path):
    path = save(layer(), tmp_path / "covered.parquet")
    with pytest.raises(LabelError, match="their fields are classvalue, classname"):
        read_features(path, grid=GRID, class_field="kind")


def test_a_file_without_crs_is_refused(tmp_path):
    frame = geopandas.GeoDataFrame(geometry=[box(0, 0, 1, 1)])
    with pytest.raises(CrsError, match=r"a\.parquet has no coordinate reference system"):
        read_features(save(frame, tmp_path / "a.parquet"), grid=GRID)


def test_parquet_without_geometry_is_refused(tmp_path):
    path = tmp_path / "table.parquet"
    pandas.DataFrame({"value": [1]}).to_parquet(path)
    with pytest.raises(LabelError, match="without geometry"):
        read_features(path, grid=GRID)


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.txt"])
def test_a_file_that_is_no_layer_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"not a layer at all")
    with pytest.raises(LabelError, match=name):
        read_features(path, grid=GRID)


def test_geoparquet_is_recognised_by_the_files_own_metadata(tmp_path):
    whole = tmp_path / "whole.parquet"
    square_labels(height=50, width=50).to_parquet(whole)
    table = pyarrow.parquet.read_table(whole)
    geo = table.schema.metadata[b"geo"]
    streamed = tmp_path / "streamed.parquet"
    plain = table.replace_schema_metadata(None)
    with pyarrow.parquet.ParquetWriter(streamed, plain.schema) as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata({"geo": geo.decode()})
    assert layer_crs(streamed) == layer_crs(whole)
