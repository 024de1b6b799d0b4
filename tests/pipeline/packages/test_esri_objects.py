"""Detectors behind the raster function interface."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from rasterloom.models.catalog import find_adapter
from rasterloom.pipeline.packages.esri_objects import ObjectFunction
from rasterloom.pipeline.packages.save import save_package
from tests.support.adapters import adapter_model


@pytest.fixture(scope="module", params=["FasterRCNN", "MaskRCNN"])
def function(request, tmp_path_factory):
    """The script of a package, loaded as a host does: by file name."""
    row = find_adapter(request.param)
    saved = save_package(adapter_model(row), tmp_path_factory.mktemp("model") / "things", report=False)
    path = saved.with_suffix("") / row.inference_function
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, path.stem)()
    made.initialize(model=str(path.with_name("things.emd")), device=-1)
    return made


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 255, (3, 64, 64), np.uint8)


def _features(function, pixels, **blocks):
    found = json.loads(function.vectorize(raster_pixels=pixels, **blocks)["output_vectors"])
    assert [field["name"] for field in found["fields"]] == ["OID", "Class", "Confidence"]
    return found["features"]


def test_a_tile_gives_the_objects_of_the_model_from_the_corner_of_what_is_kept(function, pixels):
    setup = function.getConfiguration(padding="10", threshold="0.0", exclude_pad_detections="False")
    assert (setup["padding"], setup["tx"], setup["ty"]) == (10, 44, 44)
    features = _features(function, pixels)
    model = function._model
    with torch.inference_mode():
        image = (torch.from_numpy(pixels).float() - 120) / 50
        wanted = model.detect(image[None], threshold=0.0, nms_overlap=0.1)[0]
    shown = [n for n in range(len(wanted["labels"])) if "masks" not in wanted or wanted["masks"][n].any()]
    assert len(features) == len(shown) > 0
    for feature, number in zip(features, shown, strict=True):
        score = float(wanted["scores"][number])
        assert feature["attributes"]["Confidence"] == pytest.approx(100 * score)
        corners = np.concatenate([np.array(ring) for ring in feature["geometry"]["rings"]]) + 10
        box = wanted["boxes"][number].numpy()
        assert (corners.min(0) >= box[:2] - 1).all()
        assert (corners.max(0) <= box[2:] + 1).all()
        assert all(ring[0] == ring[-1] for ring in feature["geometry"]["rings"])
    assert [feature["attributes"]["OID"] for feature in features] == list(range(1, len(features) + 1))


def test_things_in_the_padding_are_left_to_the_tile_beside(function, pixels):
    function.getConfiguration(padding="20", threshold="0.0", exclude_pad_detections="False")
    everything = _features(function, pixels)
    function.getConfiguration(padding="20", threshold="0.0", exclude_pad_detections="True")
    assert len(_features(function, pixels)) < len(everything)


def test_a_tile_without_a_known_pixel_has_nothing(function, pixels):
    function.getConfiguration(padding="0", threshold="0.0")
    assert _features(function, pixels, raster_mask=np.zeros_like(pixels)) == []


def test_the_host_is_told_what_it_asks(function):
    names = [row["name"] for row in function.getParameterInfo()]
    assert names == ["raster", "model", "padding", "threshold", "nms_overlap", "exclude_pad_detections"]
    assert function.getGeometryType() == 4
    assert isinstance(function, ObjectFunction)
