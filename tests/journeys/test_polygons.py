"""From a model to areas: a class map and its polygons in one call, the same on a cluster."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely

from rasterloom.models.errors import OutputExistsError, SettingError
from rasterloom.pipeline import classify_pixels, polygonize, save_package
from tests.support.models import random_model
from tests.support.rasters import write_raster

_ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=130, width=141)


def test_one_call_gives_the_map_and_its_polygons_with_names(
    package: Path, scene: Path, tmp_path: Path
) -> None:
    areas = tmp_path / "areas.parquet"
    written = classify_pixels(
        scene, package, _ARGUMENTS, tmp_path / "map.tif", output_polygons=areas, progress=False
    )
    with rasterio.open(written) as source:
        pixels, transform = source.read(1).astype(np.int32), source.transform
    wanted = (pixels != 0) & (pixels != 255)
    layer = geopandas.read_parquet(areas)
    whole = rasterio.features.shapes(pixels, mask=wanted, transform=transform)
    expected = sorted((int(v), shapely.normalize(shapely.geometry.shape(each)).wkb) for each, v in whole)
    found = zip(layer["ClassValue"], shapely.normalize(layer.geometry.to_numpy()), strict=True)
    assert sorted((value, outline.wkb) for value, outline in found) == expected
    assert set(layer["Class"]) <= {"Field", "Water", "Road"}


def test_a_cluster_writes_the_same_layer(package: Path, scene: Path, tmp_path: Path, client: Any) -> None:
    written = classify_pixels(scene, package, _ARGUMENTS, tmp_path / "map.tif", progress=False)
    settings = {"cell_size": 32, "simplify": 2.0, "progress": False}
    here = polygonize(written, tmp_path / "here.parquet", **settings)
    there = polygonize(written, tmp_path / "there.parquet", client=client, **settings)
    assert Path(there).read_bytes() == Path(here).read_bytes()


def test_a_layer_that_cannot_be_made_is_refused_before_the_network_runs(
    package: Path, scene: Path, tmp_path: Path
) -> None:
    shares = {**_ARGUMENTS, "return_probability_raster": True}
    output, areas = tmp_path / "map.tif", tmp_path / "areas.parquet"
    with pytest.raises(SettingError, match="needs a class map"):
        classify_pixels(scene, package, shares, output, output_polygons=areas, progress=False)
    with pytest.raises(SettingError, match="no vector format"):
        classify_pixels(scene, package, _ARGUMENTS, output, output_polygons=output, progress=False)
    areas.write_bytes(b"")
    with pytest.raises(OutputExistsError):
        classify_pixels(scene, package, _ARGUMENTS, output, output_polygons=areas, progress=False)
    assert not output.exists()
