"""Layers of every format come in blocks, with their attributes and types."""

from pathlib import Path

import fsspec
import geopandas
import numpy as np
import pyarrow
import pytest
import shapely

from rasterloom.models.errors import LabelError, MissingInputError, SettingError
from rasterloom.pipeline.labels import blocks as reading
from rasterloom.pipeline.outputs.features import write_features
from rasterloom.pipeline.outputs.read_features import FeatureSource, feature_blocks
from tests.support.features import FIELDS, random_block


@pytest.mark.parametrize("suffix", ["parquet", "gpkg", "fgb", "geojson", "shp", "frame"])
def test_what_is_read_is_what_was_written(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 64)
    path, block = tmp_path / f"a.{suffix}", random_block(200)
    if suffix == "frame":
        source = FeatureSource.of(geopandas.GeoDataFrame(block.columns, geometry=block.geometry, crs=32633))
    else:
        write_features(path, [block], fields=FIELDS, crs="EPSG:32633", oid=None)
        source = FeatureSource.of(path)
    assert list(source.fields) == list(FIELDS)
    assert source.fields["ClassValue"] in (pyarrow.int32(), pyarrow.int64())
    assert source.crs is not None
    assert "UTM zone 33N" in source.crs
    assert source.bounds() == pytest.approx(shapely.total_bounds(block.geometry).tolist())
    parts = list(source.blocks(["Class", "Confidence"]))
    assert max(len(part) for part in parts) <= 64
    read = np.concatenate([part.geometry for part in parts])
    order = [np.argsort(shapely.bounds(each)[:, 0]) for each in (read, block.geometry)]
    assert shapely.equals_exact(read[order[0]], block.geometry[order[1]], 1e-9, normalize=True).all()
    for name in ("Class", "Confidence"):
        values = np.concatenate([part.columns[name] for part in parts])
        assert values[order[0]].tolist() == block.columns[name][order[1]].tolist()


def test_whole_numbers_stay_whole_where_one_is_missing(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"n": np.array([1, 2], "int64")}, geometry=[shapely.Point(0, 0), shapely.Point(1, 1)], crs=4326
    )
    frame["n"] = frame["n"].astype("Int64")
    frame.loc[0, "n"] = None
    frame.to_file(tmp_path / "a.gpkg")
    (block,) = feature_blocks(tmp_path / "a.gpkg")
    assert block.columns["n"].tolist() == [None, 2]


def test_an_address_is_fetched_and_its_copy_goes_with_the_source(tmp_path: Path) -> None:
    write_features("memory://here/a.fgb", [random_block(7)], fields=FIELDS, crs="EPSG:32633")
    source = FeatureSource.of("memory://here/a.fgb")
    copy = Path(source.source)
    assert sum(len(block) for block in source.blocks()) == 7
    del source
    assert not copy.exists()
    fsspec.filesystem("memory").rm("/here", recursive=True)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"none\.parquet is not there"):
        FeatureSource.of(tmp_path / "none.parquet")
    with pytest.raises(MissingInputError, match="is not there"):
        FeatureSource.of("memory://none/a.parquet")
    with pytest.raises(SettingError, match="int is no vector layer"):
        FeatureSource.of(5)
    (tmp_path / "text.gpkg").write_text("hello")
    with pytest.raises(LabelError, match="not a vector layer"):
        FeatureSource.of(tmp_path / "text.gpkg")
    write_features(tmp_path / "a.parquet", [random_block(3)], fields=FIELDS, crs=None)
    with pytest.raises(SettingError, match=r"no field \['kind'\].*'Class'"):
        list(feature_blocks(tmp_path / "a.parquet", ["kind"]))


def test_an_empty_layer_has_columns_and_no_bounds(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.shp", "a.gpkg"):
        write_features(tmp_path / name, [], fields=FIELDS, crs="EPSG:32633")
        source = FeatureSource.of(tmp_path / name)
        assert list(source.fields) == ["OID", *FIELDS]
        assert source.bounds() is None
        assert sum(len(block) for block in source.blocks()) == 0
