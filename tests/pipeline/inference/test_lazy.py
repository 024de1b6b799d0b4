"""The lazy route gives pixel for pixel what classify_pixels writes, and computes nothing unasked."""

from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import rioxarray
import xarray
from affine import Affine

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference import lazy
from rasterloom.pipeline.inference.lazy import predict_xarray
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.open import open_raster
from tests.support.models import random_model
from tests.support.rasters import write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_raster(path, height=150, width=201, nodata=0)


def _written(source: Any, model: Any, output: Path, arguments: Any = None, **settings: Any) -> np.ndarray:
    classify_pixels(source, model, ARGUMENTS | (arguments or {}), output, progress=False, **settings)
    with rioxarray.open_rasterio(output) as opened:
        return opened.values


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ({}, {}),
        ({}, {"blend": "gaussian"}),
        ({"return_probability_raster": True}, {"blend": "linear"}),
        ({"test_time_augmentation": True, "merge_policy": "max"}, {}),
        ({}, {"context": {"extent": (500020, 4999900, 500110, 4999980)}}),
        ({}, {"context": {"cellSize": 1.25}}),
    ],
)
@pytest.mark.parametrize("dask_backed", [False, True])
def test_the_pixels_are_those_of_classify_pixels(
    arguments: dict[str, Any],
    settings: dict[str, Any],
    dask_backed: bool,
    scene: Path,
    package: Path,
    tmp_path: Path,
) -> None:
    source = open_raster(scene, chunks=70)
    # the same pixels, of which only dask knows where they come from
    source = (source + 0).assign_attrs(source.attrs) if dask_backed else source
    array = predict_xarray(source, package, ARGUMENTS | arguments, cell_size=60, **settings)
    written = _written(scene, package, tmp_path / "out.tif", arguments, **settings)
    assert np.array_equal(array.values, written if array.ndim == 3 else written[0])


def test_the_array_lies_where_the_raster_does(scene: Path, package: Path) -> None:
    source = open_raster(scene)
    array = predict_xarray(source, package, ARGUMENTS)
    assert array.dims == ("y", "x")
    assert array.rio.crs == source.rio.crs
    assert array.rio.transform() == source.rio.transform()
    assert array.rio.nodata == 255
    assert np.array_equal(array.x, source.x)
    assert np.array_equal(array.y, source.y)
    assert array.attrs["classes"][7] == "Road"


def test_workers_give_the_same_array(scene: Path, package: Path, client: Any) -> None:
    array = predict_xarray(open_raster(scene) + 0, package, ARGUMENTS, cell_size=60)
    here = array.compute(scheduler="synchronous")
    there = client.compute(array).result()
    assert np.array_equal(here, there)


def test_a_model_is_sent_to_the_workers_and_no_graph_carries_it(scene: Path, client: Any) -> None:
    model = random_model()
    weights = sum(value.nbytes for value in model.network.state_dict().values())
    for source in (open_raster(scene), open_raster(scene) + 0):  # read by workers, and given to them
        with client.as_current():
            array = predict_xarray(source, model, ARGUMENTS, cell_size=60)
            there = array[:60, :60].compute()
        travelling = cloudpickle.dumps({**array.__dask_graph__()})
        assert len(travelling) < len(cloudpickle.dumps({**(source + 0).__dask_graph__()})) + weights / 2
        assert np.array_equal(there, array[:60, :60].compute(scheduler="synchronous"))


def test_nothing_is_computed_before_it_is_asked_for(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(lazy, "predict_seen", refuse)
    monkeypatch.setattr(lazy, "predict_cell", refuse)
    import dask.array

    pixels = dask.array.zeros((3, 400, 400), chunks=(3, 100, 100), dtype=np.uint8)
    array = xarray.DataArray(pixels, dims=("band", "y", "x")).rio.write_crs("EPSG:32633")
    array = array.rio.write_transform(Affine(1, 0, 500_000, 0, -1, 5_000_000))
    found = predict_xarray(array, package, ARGUMENTS, cell_size=60)
    assert found.shape == (400, 400)
    assert found.chunks is not None
    with pytest.raises(AssertionError, match="computed"):
        found[:10, :10].compute(scheduler="synchronous")


def test_too_many_blocks_are_refused_with_the_way_out(
    scene: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy, "MOST_BLOCKS", 4)
    with pytest.raises(SettingError, match=r"use classify_pixels, which has no limit.*cell_size=\d+ or more"):
        predict_xarray(open_raster(scene), package, ARGUMENTS, cell_size=32)
