"""From a raster and outlines to judged detections, word by word as a user types it."""

import subprocess
import sys
from pathlib import Path

import duckdb
import geopandas
import pyogrio
import pytest
import rasterio

from rasterloom.pipeline.landscape.classes import BUILDING
from rasterloom.pipeline.landscape.write import generate_landscape

_FIELDS = ["OID", "Class", "ClassValue", "Confidence", "Cut"]
_SMALL = (
    "--backbone timm:test_resnet --no-pretrained --epochs 8 --lr 0.003 --batch-size 4 --chip-size 96 "
    "--set box_detections_per_img=10 --set rpn_post_nms_top_n_test=50 --set rpn_post_nms_top_n_train=100 "
    "--set box_batch_size_per_image=32"
)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    made = generate_landscape(tmp_path, size=384, seed=5, cell_size=0.5)
    features = geopandas.read_parquet(made.labels)
    buildings = features[features["classvalue"] == BUILDING][["classvalue", "geometry"]]
    buildings.to_parquet(tmp_path / "buildings.parquet")
    return Path(made.raster)


def _typed(folder: Path, line: str) -> str:
    """What a command says on standard output."""
    command = [str(Path(sys.executable).with_name("rasterloom")), *line.split()]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_outlines_are_exported_learnt_found_and_judged_by_command(scene: Path, tmp_path: Path) -> None:
    chips = "-o chips.zarr --tile-size 96 --metadata-format RCNN_Masks -w 0 -q"
    _typed(tmp_path, f"export-training-data {scene.name} buildings.parquet {chips}")
    _typed(tmp_path, f"train chips.zarr --model-type MASKRCNN {_SMALL} -q")
    for suffix in ("parquet", "gpkg", "fgb", "geojson"):
        words = f"-o found.{suffix} --threshold 0.05 --tile-size 96 --padding 24 -w 0 -q"
        _typed(tmp_path, f"detect-objects {scene.name} model.dlpk {words}")
    words = f"-o figures.csv --report report.html --raster {scene.name}"
    table = _typed(tmp_path, f"accuracy found.parquet buildings.parquet {words}")
    assert "precision" in table
    assert (tmp_path / "figures.csv").is_file()
    assert "<html" in (tmp_path / "report.html").read_text()
    _check_layer(tmp_path, scene)


def _check_layer(folder: Path, scene: Path) -> None:
    found = geopandas.read_parquet(folder / "found.parquet")
    assert len(found) > 0, "a model of eight epochs is sure of something by 0.05"
    assert list(found.columns)[: len(_FIELDS)] == _FIELDS
    assert found.geometry.is_valid.all()
    assert found["Confidence"].between(5, 100).all()
    with rasterio.open(scene) as raster:
        assert found.crs == raster.crs
        left, bottom, right, top = found.total_bounds
        assert raster.bounds.left <= left
        assert right <= raster.bounds.right
        assert raster.bounds.bottom <= bottom
        assert top <= raster.bounds.top
    rows = duckdb.sql(f"SELECT count(*), max(Confidence) FROM '{folder / 'found.parquet'}'").fetchall()
    assert rows == [(len(found), found["Confidence"].max())]
    for suffix in ("gpkg", "fgb", "geojson"):
        again = pyogrio.read_dataframe(folder / f"found.{suffix}")
        assert len(again) == len(found)
        assert again.crs == found.crs
        assert sorted(again["Confidence"]) == pytest.approx(sorted(found["Confidence"]))
