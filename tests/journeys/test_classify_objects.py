"""From a raster and labelled outlines to a label for each outline, word by word as a user types it."""

import subprocess
import sys
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import pytest
import shapely

from rasterloom.pipeline import load_package
from tests.support.rasters import write_pixels

_SMALL = "--backbone timm:test_resnet --no-pretrained --epochs 10 --lr 0.003 --batch-size 8"
_CELL = 32
_COLOURS = {"roof": (190, 90, 70), "pool": (60, 130, 190)}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Roofs and pools in the noise of gardens: those of the west are for training."""
    generator = np.random.default_rng(7)
    side = 14 * _CELL
    pixels = generator.integers(20, 230, (3, side, side)).astype(np.uint8)
    rows = []
    for number in range(14 * 14):
        top, left = np.array(divmod(number, 14)) * _CELL + generator.integers(2, 10, 2)
        height, width = generator.integers(10, 20, 2)
        name = list(_COLOURS)[int(generator.integers(2))]
        spot = np.array(_COLOURS[name])[:, None, None] + generator.normal(0, 25, (3, height, width))
        pixels[:, top : top + height, left : left + width] = spot.clip(0, 255)
        west, north = 500_000 + left, 5_000_000 - top
        shape = shapely.box(west, north - height, west + width, north)
        rows.append({"number": number, "classname": name, "geometry": shape})
    features = geopandas.GeoDataFrame(rows, crs="EPSG:32633")
    features["classvalue"] = features["classname"].map({"roof": 3, "pool": 8})
    known = features.geometry.centroid.x < 500_000 + side / 2
    features[known].to_parquet(tmp_path / "known.parquet")
    features[~known].to_parquet(tmp_path / "truth.parquet")
    features[~known][["number", "geometry"]].to_crs("EPSG:4326").to_file(tmp_path / "asked.gpkg")
    return write_pixels(tmp_path / "scene.tif", pixels)


def _typed(folder: Path, line: str) -> str:
    """What a command says on standard output."""
    command = [str(Path(sys.executable).with_name("rasterloom")), *line.split()]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_chips_around_outlines_are_exported_learnt_and_told_by_command(scene: Path, tmp_path: Path) -> None:
    chips = "-o chips.zarr --tile-size 32 --metadata-format Labeled_Tiles --blacken --class-field classvalue"
    _typed(tmp_path, f"export-training-data {scene.name} known.parquet {chips} -w 0 -q")
    _typed(tmp_path, f"train chips.zarr -o model.dlpk --model-type FEATURE_CLASSIFIER {_SMALL} -q")
    assert load_package(tmp_path / "model.dlpk").spec.parameters["blacken_around_feature"] is True
    for name, words in {"labels.parquet": "", "around.gpkg": "--no-blacken"}.items():
        line = f"classify-objects {scene.name} model.dlpk -f asked.gpkg -o {name} {words} -w 0 -q"
        assert _typed(tmp_path, line) == f"{name}\n"
    found = geopandas.read_parquet(tmp_path / "labels.parquet").set_index("number")
    truth = geopandas.read_parquet(tmp_path / "truth.parquet").set_index("number")
    assert sorted(found.index) == sorted(truth.index)
    assert found.crs.to_epsg() == 4326
    values = truth["classname"].loc[found.index]
    right = (found["ClassLabel"] == values).mean()
    most = values.value_counts(normalize=True).max()
    print(f"[{right:.2f} of {len(found)} outlines, {most:.2f} are of the largest class]", end=" ")
    assert right >= most + 0.2, "a model of ten epochs tells pools from roofs"
    around = geopandas.read_file(tmp_path / "around.gpkg").set_index("number").loc[found.index]
    assert not around["Confidence"].equals(found["Confidence"]), "what is around an outline counts"
    rows = duckdb.sql(f"SELECT count(DISTINCT ClassLabel) FROM '{tmp_path / 'labels.parquet'}'").fetchall()
    assert rows == [(2,)]
