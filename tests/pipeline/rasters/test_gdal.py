import os
import subprocess
import sys

import numpy as np
import pytest
import rasterio

from rasterloom.pipeline.rasters.gdal import reading
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster


def options(**arguments):
    with reading(**arguments):
        return rasterio.env.getenv()


@pytest.fixture(autouse=True)
def no_store(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("endpoint", "host", "secure"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1:9000", "NO"),
        ("https://store.example.org/", "store.example.org", "YES"),
        ("https://example.org/s3", "example.org/s3", "YES"),
    ],
)
def test_the_store_of_the_aws_packages_is_gdals_too(monkeypatch, endpoint, host, secure):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    found = options()
    assert found["AWS_S3_ENDPOINT"] == host
    assert found["AWS_HTTPS"] == secure
    assert found["AWS_VIRTUAL_HOSTING"] == "FALSE"


def test_the_address_for_s3_alone_goes_first(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://other")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://mine")
    assert options()["AWS_S3_ENDPOINT"] == "mine"


def test_without_an_endpoint_gdal_finds_the_store_itself():
    assert "AWS_S3_ENDPOINT" not in options()


def test_what_the_environment_says_to_gdal_stands():
    # GDAL reads its environment once, when the process begins
    code = (
        "import rasterio.env; from rasterloom.pipeline.rasters.gdal import reading\n"
        "with reading(): print(sorted(rasterio.env.getenv()))"
    )
    said = {"GDAL_HTTP_MAX_RETRY": "7", "AWS_S3_ENDPOINT": "mine", "AWS_ENDPOINT_URL": "http://other"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | said, capture_output=True, text=True, check=True
    )
    assert "GDAL_HTTP_MAX_RETRY" not in done.stdout
    assert "AWS_S3_ENDPOINT" not in done.stdout
    assert "GDAL_HTTP_TIMEOUT" in done.stdout


def test_a_mask_beside_a_local_file_is_found(tmp_path):
    path = write_raster(tmp_path / "a.tif", height=20, width=30)
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    assert path.with_name("a.tif.msk").exists()
    np.testing.assert_array_equal(read_window(describe(path), Window(0, 0, 20, 30))[1], mask)
