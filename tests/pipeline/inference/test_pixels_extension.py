"""A model of a class that the user writes gives its map like any other."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from rasterloom.models import ModelExtension, PackageError
from rasterloom.pipeline import classify_pixels, load_package, prepare_data
from tests.pipeline.datasets.stores import toy_chips, write_store
from tests.support.model_classes import SoftSegmenter, TinySegmenter
from tests.support.rasters import write_raster

PADDING = 4
"""The networks look two pixels far."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=90, width=131)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chips")
    store = write_store(folder / "chips.zarr", *toy_chips(8, bands=3))
    data = prepare_data(store, chip_size=32, batch_size=4, working_dir=folder)

    def model(kind):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            found = ModelExtension(data, kind)
        with torch.no_grad():
            found.network.inner.head.weight.mul_(20)  # as sure as a trained one
        return found

    return model


def classify(scene, model, output, **changes):
    arguments = {"padding": PADDING, "batch_size": 3, **changes.pop("arguments", {})}
    settings = {"model_arguments": arguments, "progress": False, "cell_size": 64} | changes
    return Path(classify_pixels(scene, model, output_name=output, **settings)).read_bytes()


def whole(scene, model):
    """The scores of the scene in one go."""
    with rasterio.open(scene) as source:
        pixels = torch.from_numpy(source.read().astype("float32"))
    scaling = model.spec.normalization
    mean, std = (torch.tensor(values)[:, None, None] for values in (scaling.mean, scaling.std))
    model.network.eval()
    with torch.inference_mode():
        images = torch.nn.functional.pad(((pixels - mean) / std)[None], (0, 1, 0, 0), mode="replicate")
        return model.network(images)[0, :, :, : pixels.shape[2]].numpy()


@pytest.mark.filterwarnings("ignore:ModelExtension was trained on cells")
@pytest.mark.parametrize("kind", [TinySegmenter, SoftSegmenter])
def test_the_map_is_that_of_the_whole_scene_however_it_is_cut(scene, make, tmp_path, kind):
    model = make(kind)
    first = classify(scene, model, tmp_path / "first.tif")
    cut = {"cell_size": 48, "arguments": {"batch_size": 1}}
    assert classify(scene, model, tmp_path / "second.tif", **cut) == first
    with rasterio.open(tmp_path / "first.tif") as source:
        found = source.read(1)
    expected = np.array(model.spec.output_values)[whole(scene, model).argmax(axis=0)]
    assert len(np.unique(expected)) > 1
    inner = (slice(PADDING, -PADDING),) * 2  # the scene's edge is padded in another way
    assert (found == expected)[inner].mean() > 0.999


@pytest.mark.filterwarnings("ignore:ModelExtension was trained on cells")
def test_a_package_is_run_only_when_it_is_trusted(scene, make, tmp_path):
    model = make(TinySegmenter)
    package = model.save(tmp_path / "mine", compute_metrics=False)
    expected = classify(scene, model, tmp_path / "object.tif")
    with pytest.raises(PackageError, match=r"ModelConfiguration\.py.*trust=True"):
        classify(scene, package, tmp_path / "refused.tif")
    trusted = load_package(package, trust=True)
    assert classify(scene, trusted, tmp_path / "package.tif") == expected
    assert classify(scene, package, tmp_path / "path.tif", trust=True) == expected


@pytest.mark.filterwarnings("ignore:ModelExtension was trained on cells")
def test_probabilities_are_those_of_post_process(scene, make, tmp_path):
    model = make(SoftSegmenter)
    settings = {"arguments": {"return_probability_raster": True}, "probability_type": "float32"}
    classify(scene, model, tmp_path / "soft.tif", **settings)
    with rasterio.open(tmp_path / "soft.tif") as source:
        found = source.read()
    inner = (slice(None), slice(PADDING, -PADDING), slice(PADDING, -PADDING))
    np.testing.assert_allclose(found[inner], whole(scene, model)[inner], atol=1e-5)
