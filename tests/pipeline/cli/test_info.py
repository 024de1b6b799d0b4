"""``rasterloom info`` tells what things are, whatever they are called."""

from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  gives arrays their .rio
import xarray

from rasterloom.pipeline import convert, export_training_data
from rasterloom.pipeline.cli.main import run
from tests.support.labels import square_labels
from tests.support.rasters import write_raster
from tests.support.web import serve_folder


# zarr says so of every store that xarray writes with its metadata in one place
@pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")
def test_a_zarr_store_that_holds_no_chips_is_a_raster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.zeros((2, 40, 60), np.uint8)
    coordinates = {"y": 5e6 - 0.5 - np.arange(40), "x": 5e5 + 0.5 + np.arange(60)}
    layer = xarray.DataArray(pixels, dims=("band", "y", "x"), coords=coordinates).rio.write_crs("EPSG:32633")
    xarray.Dataset({"red": layer, "nir": layer}).to_zarr(tmp_path / "scene.zarr")
    assert run(["info", str(tmp_path / "scene.zarr"), "--variable", "nir"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("raster")
    assert "60 x 40 pixels" in told
    assert "red" not in told


def test_an_address_is_looked_into_like_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_raster(tmp_path / "scene.tif", height=40, width=60)
    with serve_folder(tmp_path) as web:
        assert run(["info", f"{web.url}/scene.tif"]) == 0
    assert "60 x 40 pixels" in capsys.readouterr().out


def test_chips_are_told_of_whatever_they_are_kept_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=96, width=96)
    labels = square_labels(height=96, width=96, count=30)
    chips = {"tile_size": 32, "metadata_format": "RCNN_Masks", "progress": False}
    store = export_training_data(scene, labels, output_location=tmp_path / "chips.zarr", **chips)
    convert(store, tmp_path / "coco", metadata_format="COCO", chip_format="TIFF", progress=False)
    export_training_data(
        scene,
        None,
        metadata_format="CycleGAN",
        tile_size=32,
        additional_input_raster=scene,
        output_location=tmp_path / "pair",
        progress=False,
    )
    told = []
    for name in ("chips.zarr", "coco", "pair"):
        assert run(["info", str(tmp_path / name)]) == 0
        told.append(capsys.readouterr().out)
    assert all(text.startswith("training chips") for text in told)
    assert "RCNN_Masks" in told[0]
    objects = [next(line for line in text.splitlines() if "objects" in line) for text in told[:2]]
    assert objects[0].split() == objects[1].split()
    assert told[2].count("CycleGAN") == 2
