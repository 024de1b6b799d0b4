"""Tiles, markers and results may stand in an object store."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.start import connect
from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError, OutputExistsError
from rasterloom.pipeline.outputs.cog import assemble, check_free
from rasterloom.pipeline.outputs.raster import OutputRaster
from rasterloom.pipeline.rasters.gdal import reading
from rasterloom.pipeline.rasters.grid import Grid, read_crs
from tests.support.tiles import cut_tiles

GRID = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 1100, 900)
WHAT = OutputRaster.class_map(GRID, "uint8", 255, (ClassInfo(4, "Water", (20, 60, 200)),), {4: 1})


@pytest.fixture
def pixels() -> np.ndarray:
    noise = np.random.default_rng(0).choice(np.array([0, 4, 255], np.uint8), (110, 90))
    return np.kron(noise, np.ones((10, 10), np.uint8))


def test_a_cog_is_put_together_in_an_object_store(bucket: str, pixels: np.ndarray, tmp_path: Path) -> None:
    run = RunFolder(f"{bucket}/out/_run")
    tiles = cut_tiles(run.tiles, pixels[None], GRID, 400, nodata=255)
    there = assemble(None, tiles, WHAT, f"{bucket}/out/map.tif", folder=run)
    assert there == f"{bucket}/out/map.tif"
    place = Place.of(bucket) / "out"
    with reading(), rasterio.open(place.gdal("map.tif")) as source:
        assert (source.read(1) == pixels).all()
        assert source.colormap(1)[4] == (20, 60, 200, 255)
        valid, errors, warnings = cog_validate(place.gdal("map.tif"), strict=True)
    assert valid, (errors, warnings)
    assert b"<Category>Water</Category>" in place.read("map.tif.aux.xml")
    assert place.names() == {"map.tif", "map.tif.aux.xml"}
    here = assemble(None, tiles, WHAT, tmp_path / "map.tif", folder=RunFolder(tmp_path / "_run"))
    assert Path(here).read_bytes() == place.read("map.tif")


def test_a_grid_of_cogs_is_put_together_by_workers_that_share_nothing_but_the_store(
    bucket: str, pixels: np.ndarray
) -> None:
    run = RunFolder(f"{bucket}/out/_run")
    tiles = cut_tiles(run.tiles, pixels[None], GRID, 400, nodata=255)
    with connect(n_workers=2, dashboard=False) as client:  # its processes see this test's environment
        there = assemble(client, tiles, WHAT, f"{bucket}/out/map.tif", max_cog_size=512, folder=run)
    assert there == f"{bucket}/out/map.vrt"
    place = Place.of(bucket) / "out"
    assert len((place / "map").names()) == 6 * 3 + 1
    with reading(), rasterio.open(place.gdal("map.vrt")) as joined:
        assert (joined.read(1) == pixels).all()
    assert not any("secret" in str(line) for line in (place.read("map.vrt"), run.place.names()))


def test_an_output_in_a_store_is_checked_before_any_work(bucket: str) -> None:
    place = Place.of(bucket) / "out"
    check_free(f"{place}/map.tif", overwrite=False)
    assert place.names() == set()
    place.write("map.tif", b"old")
    with pytest.raises(OutputExistsError, match="pass overwrite=True"):
        check_free(f"{place}/map.tif", overwrite=False)
    check_free(f"{place}/map.tif", overwrite=True)
    with pytest.raises(OutputError, match="cannot be written to"):
        check_free(f"{bucket}-missing/map.tif", overwrite=False)
