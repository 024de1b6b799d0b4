"""``rasterloom info`` tells what things are, whatever they are called."""

from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  gives arrays their .rio
import xarray

from rasterloom.pipeline.cli.main import run
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
