"""From an image and the middles of its roads to a network of roads, word by word as a user types it."""

import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import geometry_mask

from rasterloom.pipeline import line_quality

GRID = "--out-crs EPSG:32611 --cell-size 1"
MODEL = (
    "--model-type MULTITASK_ROADEXTRACTOR --set mtl_model=linknet --backbone timm:test_resnet "
    "--no-pretrained --dice 0.3 --epochs 8 --lr 0.005 --batch-size 4 --chip-size 64"
)


def _typed(folder: Path, line: str) -> None:
    command = [str(Path(sys.executable).with_name("rasterloom")), *line.split()]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_roads_of_las_vegas_are_exported_learnt_found_and_drawn_by_command(
    data_folder: Path, tmp_path: Path
) -> None:
    raster = data_folder / "roads_vegas" / "road_mask_input.tif"
    true = data_folder / "roads_vegas" / "sample_roads_for_masking.geojson"
    # four metres to each side, in the degrees of the layer
    chips = f"-o chips.zarr --tile-size 64 --stride 24 --buffer-radius 4e-5 {GRID} -w 0 -q"
    _typed(tmp_path, f"export-training-data {raster} {true} {chips}")
    _typed(tmp_path, f"train chips.zarr {MODEL} -q")
    _typed(tmp_path, f"classify-pixels {raster} model.dlpk -o shares.tif --probabilities {GRID} -w 0 -q")
    wishes = "--band 2 --minimum-length 20 --minimum-area 50 --smooth -w 0 -q"
    _typed(tmp_path, f"extract-lines shares.tif -o roads.parquet {wishes}")
    _check_shares(tmp_path / "shares.tif", true)
    roads = geopandas.read_parquet(tmp_path / "roads.parquet")
    assert roads.crs.to_epsg() == 32611
    assert roads["MeanProbability"].between(0.3, 1).all()
    # a tiny network and seconds of training: what is found are roads, and some of them are found
    quality = line_quality(true, roads, 6.0)
    assert quality.correctness >= 0.5
    assert quality.completeness >= 0.25


def _check_shares(path: Path, true: Path) -> None:
    """Probabilities of both classes for every pixel, and roads where the roads are."""
    with rasterio.open(path) as shares:
        background, road = shares.read(masked=True).astype(float) / 254
        places = geopandas.read_file(true).to_crs(shares.crs).buffer(3)
        on = geometry_mask(places, shares.shape, shares.transform, invert=True)
    assert np.abs(background + road - 1).max() < 0.01
    assert road[on].mean() > road[~on].mean() + 0.2
