"""Real data: two years of a gold mine in Suriname, from an alert's outline to a map, word by word."""

import subprocess
import sys
from pathlib import Path

import geopandas
import pytest
import rasterio
from rasterio.warp import Resampling, calculate_default_transform, reproject

_TRAINING = (
    "--model-type CHANGEDETECTOR --backbone timm:test_resnet --no-pretrained --epochs 3 --lr 0.003 "
    "--batch-size 4 --chip-size 64"
)


def _typed(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("rasterloom")), *line.split()]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.slow
def test_change_is_exported_learnt_and_mapped_by_command(data_folder: Path, tmp_path: Path) -> None:
    before, after, alert = (
        data_folder / "change_suriname" / name
        for name in ("example_t0.tif", "example_t1.tif", "example.geojson")
    )
    chips = "-o chips.zarr --tile-size 64 --stride 32 --all-tiles --metadata-format Classified_Tiles -w 0"
    told = _typed(tmp_path, f"export-training-data {before} {alert} --additional-raster {after} {chips}")
    assert "chips.zarr --model-type CHANGEDETECTOR -o model.dlpk" in told.stderr
    _typed(tmp_path, f"train chips.zarr {_TRAINING} -q")
    words = "-o change.tif --polygons changed.parquet -w 0 -q"
    told = _typed(tmp_path, f"detect-change {before} {after} model.dlpk {words}")
    assert told.stdout.split() == ["change.tif"]
    _check_map(tmp_path, before)
    _write_west_in_metres(after, tmp_path / "west.tif")
    _typed(tmp_path, f"detect-change {before} west.tif model.dlpk -o west_change.tif -w 0 -q")
    _check_west(tmp_path, before)


def _check_map(folder: Path, before: Path) -> None:
    with rasterio.open(folder / "change.tif") as found, rasterio.open(before) as scene:
        assert (found.crs, found.transform, found.shape) == (scene.crs, scene.transform, scene.shape)
        classes = found.read(1)
        assert set(classes.ravel().tolist()) <= {0, 1}
        pixel = -found.transform.a * found.transform.e
    areas = geopandas.read_parquet(folder / "changed.parquet")
    assert areas["Area"].sum() == pytest.approx((classes == 1).sum() * pixel)


def _write_west_in_metres(scene: Path, path: Path) -> None:
    """The western half of a scene in UTM, at 8 m."""
    with rasterio.open(scene) as source:
        west, south, east, north = source.bounds
        half = (west, south, (west + east) / 2, north)
        place, width, height = calculate_default_transform(
            source.crs, "EPSG:32621", source.width // 2, source.height, *half, resolution=8.0
        )
        profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": height, "width": width}
        with rasterio.open(path, "w", crs="EPSG:32621", transform=place, **profile) as target:
            for band in (1, 2, 3):
                reproject(
                    rasterio.band(source, band), rasterio.band(target, band), resampling=Resampling.bilinear
                )


def _check_west(folder: Path, before: Path) -> None:
    with rasterio.open(folder / "west_change.tif") as found, rasterio.open(before) as scene:
        assert found.crs == scene.crs
        assert found.transform.a == scene.transform.a
        assert found.bounds.left == pytest.approx(scene.bounds.left)
        assert found.shape[0] == scene.shape[0]
        assert scene.width // 2 <= found.width <= scene.width // 2 + 2
        assert (found.read(1)[:, : scene.width // 2 - 1] != found.nodata).all()
