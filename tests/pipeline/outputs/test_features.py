"""Vector files are whole, sorted, and the same whatever order their features came in."""

import json
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import geopandas
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pyogrio
import pytest
import shapely
from hypothesis import HealthCheck, given, settings, strategies as st

from rasterloom.models.errors import CrsError, OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.outputs import features_order
from rasterloom.pipeline.outputs.features import FeatureBlock, check_output, write_features
from rasterloom.pipeline.outputs.hilbert import hilbert_places
from tests.support.features import FIELDS, boxes_block, random_block, taken

CRS = "EPSG:32633"
SUFFIXES = ("parquet", "gpkg", "fgb", "geojson", "shp")

# few corners, so that boxes fall on one another
corners = st.integers(0, 3)
boxes = st.lists(
    st.builds(lambda x, y, w: (x, y, x + 1 + w, y + 1 + w), corners, corners, corners), max_size=60
)


def _write(path: Path, *blocks: FeatureBlock, **settings: Any) -> int:
    return write_features(path, blocks, **{"fields": FIELDS, "crs": CRS, **settings})


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sides=boxes, seed=st.integers(0, 99), run=st.sampled_from([1, 2000, 1 << 20]), known=st.booleans())
def test_a_file_depends_on_its_features_and_not_on_blocks_and_order(
    tmp_path: Path, sides: list[tuple[int, ...]], seed: int, run: int, known: bool
) -> None:
    whole, random = boxes_block(sides, seed), np.random.default_rng(seed)
    bounds = (0.0, 0.0, 8.0, 8.0) if known else None
    _write(tmp_path / "a.parquet", whole, bounds=bounds, overwrite=True)
    order = random.permutation(len(whole))
    cuts = np.sort(random.integers(0, len(whole) + 1, 3))
    parts = [taken(whole, rows) for rows in np.split(order, cuts)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features_order, "RUN_BYTES", run)
        patch.setattr(features_order, "SLICE", 3)
        _write(tmp_path / "b.parquet", *parts, bounds=bounds, overwrite=True)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    read = geopandas.read_parquet(tmp_path / "b.parquet")
    assert sorted(read.geometry.to_wkb()) == sorted(shapely.to_wkb(whole.geometry).tolist())


def test_features_lie_along_the_curve_and_are_numbered_from_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_order, "RUN_BYTES", 10_000)
    box = (0.0, 0.0, 1020.0, 1020.0)
    assert _write(tmp_path / "a.parquet", *(random_block(500, seed) for seed in range(5)), bounds=box) == 2500
    read = geopandas.read_parquet(tmp_path / "a.parquet")
    sides = read.bounds.to_numpy()
    places = hilbert_places((sides[:, :2] + sides[:, 2:]) / 2, box)
    assert (np.diff(places.astype(object)) >= 0).all()
    assert read["OID"].tolist() == list(range(1, 2501))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_back_what_was_written(tmp_path: Path, suffix: str) -> None:
    block = random_block(300)
    path = tmp_path / f"found.{suffix}"
    assert _write(path, block) == 300
    read = geopandas.read_parquet(path) if suffix == "parquet" else pyogrio.read_dataframe(path)
    assert read.crs.to_epsg() == 32633
    assert read.geometry.is_valid.all()
    assert set(read.geometry.geom_type) == {"Polygon"}
    rows = pandas.DataFrame({**block.columns, "x": shapely.bounds(block.geometry)[:, 0]})
    found = pandas.DataFrame(read.drop(columns=["OID", "geometry"])).assign(x=read.bounds["minx"])
    rows, found = (frame.sort_values("x").reset_index(drop=True) for frame in (rows, found))
    pandas.testing.assert_frame_equal(rows, found, check_dtype=False, rtol=1e-12)
    assert sorted(read["OID"]) == list(range(1, 301))
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bounds", [None, (0.0, 0.0, 1.0, 1.0)])
def test_nothing_found_is_an_empty_layer_with_all_columns(
    tmp_path: Path, suffix: str, bounds: tuple[float, ...] | None
) -> None:
    path = tmp_path / f"found.{suffix}"
    assert _write(path, bounds=bounds) == 0
    read = geopandas.read_parquet(path) if suffix == "parquet" else pyogrio.read_dataframe(path)
    assert len(read) == 0
    if suffix != "geojson":  # its columns stand in its features
        assert set(read.columns) == {"OID", *FIELDS, "geometry"}
        assert read.crs.to_epsg() == 32633


def test_geoparquet_tells_where_its_features_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rasterloom.pipeline.outputs.features_files.ROW_GROUP", 100)
    block, path = random_block(250), tmp_path / "a.parquet"
    _write(path, block, metadata={"model": "abc"})
    about = pyarrow.parquet.read_metadata(path)
    geo = json.loads(about.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert geo["version"] == "1.1.0"
    assert column["bbox"] == shapely.total_bounds(block.geometry).tolist()
    assert column["geometry_types"] == ["Polygon"]
    assert about.metadata[b"model"] == b"abc"
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    assert [group.num_rows for group in groups] == [100, 100, 50]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}
    read = geopandas.read_parquet(path, bbox=(0, 0, 300, 300))
    x, y = shapely.bounds(block.geometry)[:, :2].T
    assert len(read) == ((x <= 300) & (y <= 300)).sum()


def test_duckdb_reads_the_columns_and_the_boxes(tmp_path: Path) -> None:
    block, path = random_block(100), tmp_path / "a.parquet"
    _write(path, block)
    query = f"select count(*), sum(ClassValue), min(bbox.xmin), max(bbox.ymax) from '{path}'"
    sides = shapely.total_bounds(block.geometry)
    expected = (100, block.columns["ClassValue"].sum(), sides[0], sides[3])
    assert duckdb.sql(query).fetchall()[0] == pytest.approx(expected)


@pytest.mark.parametrize("suffix", ["parquet", "gpkg", "fgb", "geojson"])
def test_missing_values_and_missing_geometries_are_kept(tmp_path: Path, suffix: str) -> None:
    fields = {"note": "text", "count": "int64", "share": "float64"}
    columns = {
        "note": np.array(["a", None, "c"], object),
        "count": np.array([None, 2, 3], object),
        "share": np.array([0.5, 1.0, None], object),
    }
    geometry = np.array([shapely.box(0, 0, 1, 1), None, shapely.box(1, 1, 2, 2)], object)
    path = tmp_path / f"a.{suffix}"
    # FlatGeobuf's index has no place for what lies nowhere
    options = {} if suffix != "fgb" else {"bounds": (0.0, 0.0, 2.0, 2.0)}
    rows = slice(None) if suffix != "fgb" else [0, 2]
    block = taken(FeatureBlock(geometry, columns), rows)
    _write(path, block, fields=fields, oid=None, **options)
    read = geopandas.read_parquet(path) if suffix == "parquet" else pyogrio.read_dataframe(path)
    assert read["note"].isna().sum() == (suffix != "fgb")
    assert read["count"].isna().sum() == 1
    assert read["share"].isna().sum() == 1
    assert read.geometry.isna().sum() == (suffix != "fgb")


def test_kinds_of_geometry_are_named_with_their_dimensions(tmp_path: Path) -> None:
    flat = shapely.box(0, 0, 1, 1)
    geometry = np.array([flat, shapely.MultiPolygon([flat]), shapely.force_3d(flat, 5)], object)
    path = tmp_path / "a.parquet"
    _write(path, FeatureBlock(geometry), fields={}, oid=None, geometry="Unknown")
    about = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"geo"])["columns"]["geometry"]
    assert about["geometry_types"] == ["MultiPolygon", "Polygon", "Polygon Z"]
    read = geopandas.read_parquet(path)
    assert read.geometry.has_z.sum() == 1


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "geojson", "shp"])
@pytest.mark.parametrize("mixed", [False, True])
def test_outlines_of_several_parts_stand_beside_those_of_one(
    tmp_path: Path, suffix: str, mixed: bool
) -> None:
    several = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)])
    geometry = np.array([several, shapely.box(5, 5, 6, 6)][: 1 + mixed], object)
    path = tmp_path / f"a.{suffix}"
    _write(path, FeatureBlock(geometry), fields={}, geometry="Polygon")
    read = pyogrio.read_dataframe(path)
    assert sorted(read.geometry.area) == sorted(shapely.area(geometry))
    assert (
        pyogrio.read_info(path)["geometry_type"]
        in {
            "gpkg": ("MultiPolygon", "Unknown"),
            "fgb": ("MultiPolygon", "Unknown"),
            "geojson": ("MultiPolygon", "Unknown"),
            "shp": ("Polygon",),
        }[suffix]
    )


def test_columns_of_any_arrow_type_are_written(tmp_path: Path) -> None:
    times = np.array(["2024-05-01T10:00", "2024-05-02T10:00"], "datetime64[ms]")
    lists = np.empty(2, object)
    lists[:] = [[1, 2], []]
    fields = {"seen": pyarrow.timestamp("ms", "UTC"), "parts": pyarrow.list_(pyarrow.int64()), "n": "uint8"}
    # twice at one place, so that the columns decide
    block = FeatureBlock(
        np.array([shapely.box(0, 0, 1, 1)] * 2, object), {"seen": times, "parts": lists, "n": np.arange(2)}
    )
    for name, rows in (("a.parquet", [0, 1]), ("b.parquet", [1, 0])):
        _write(tmp_path / name, taken(block, rows), fields=fields)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    read = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert read.schema.field("seen").type == fields["seen"]
    assert read["parts"].to_pylist() == [[1, 2], []]


def test_what_stands_there_stays_until_the_new_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    _write(path, random_block(10))
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        _write(path, random_block(20))

    def breaks() -> Any:
        yield random_block(5)
        raise OSError("the source is gone")

    with pytest.raises(OutputError, match="the source is gone"):
        write_features(path, breaks(), fields=FIELDS, crs=CRS, overwrite=True)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]
    _write(path, random_block(20), overwrite=True)
    assert len(geopandas.read_parquet(path)) == 20


def test_an_address_in_an_object_store_is_written_whole(tmp_path: Path) -> None:
    block = random_block(50)
    _write(tmp_path / "a.parquet", block)
    write_features("memory://features/a.parquet", [block], fields=FIELDS, crs=CRS)
    assert (
        fsspec.filesystem("memory").cat_file("/features/a.parquet") == (tmp_path / "a.parquet").read_bytes()
    )
    fsspec.filesystem("memory").rm("/features", recursive=True)


def test_names_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"ends in \.csv.*\.parquet"):
        check_output(tmp_path / "a.csv")
    (tmp_path / "b.gpkg").mkdir()
    with pytest.raises(OutputExistsError, match="is a folder"):
        check_output(tmp_path / "b.gpkg")
    with pytest.raises(SettingError, match="more than 10 bytes"):
        _write(tmp_path / "a.shp", fields={"a_long_name": "text"})
    with pytest.raises(SettingError, match="differ in case only"):
        _write(tmp_path / "a.gpkg", fields={"class": "text", "Class": "text"})
    with pytest.raises(SettingError, match="oid=None"):
        _write(tmp_path / "a.parquet", fields={"OID": "int64"})
    with pytest.raises(SettingError, match="no type of a column"):
        _write(tmp_path / "a.parquet", fields={"a": "number"})
    with pytest.raises(CrsError, match="nowhere"):
        _write(tmp_path / "a.parquet", crs="nowhere")
    assert [each.name for each in tmp_path.iterdir()] == ["b.gpkg"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"b": np.zeros(2)}, "has the columns"),
        ({"a": np.zeros(3)}, "3 values for 2 geometries"),
        ({"a": np.array(["x", "y"], object)}, "does not fit its type int32"),
        ({"a": np.array([2**40, 1])}, "does not fit its type int32"),
    ],
)
def test_blocks_that_do_not_fit_the_fields_are_named(
    tmp_path: Path, columns: dict[str, np.ndarray], said: str
) -> None:
    block = FeatureBlock(np.array([shapely.box(0, 0, 1, 1)] * 2, object), columns)
    with pytest.raises(SettingError, match=said):
        _write(tmp_path / "a.parquet", block, fields={"a": "int32"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["parquet", "gpkg"])
def test_a_layer_may_have_no_crs(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    _write(path, random_block(5), crs=None)
    read = geopandas.read_parquet(path) if suffix == "parquet" else pyogrio.read_dataframe(path)
    assert read.crs is None or read.crs.name.startswith("Undefined")


def test_a_column_called_bbox_keeps_its_name(tmp_path: Path) -> None:
    block = FeatureBlock(np.array([shapely.box(0, 0, 1, 1)], object), {"bbox": np.array(["mine"], object)})
    _write(tmp_path / "a.parquet", block, fields={"bbox": "text"})
    about = pyarrow.parquet.read_table(tmp_path / "a.parquet")
    assert about["bbox"].to_pylist() == ["mine"]
    assert len(geopandas.read_parquet(tmp_path / "a.parquet", bbox=(0, 0, 1, 1))) == 1
