"""Classifiers of chips behind the raster function interface."""

import importlib.util
import json

import numpy as np
import pytest
import torch

from rasterloom.models.catalog import find_adapter
from rasterloom.pipeline.packages.save import save_package
from tests.support.adapters import adapter_model

ROW = find_adapter("FeatureClassifier")


def _function(folder, **changes):
    """The script of a package, loaded as a host does: by file name."""
    saved = save_package(adapter_model(ROW, **changes), folder / "labels", report=False)
    path = saved.with_suffix("") / ROW.inference_function
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, path.stem)()
    made.initialize(model=str(path.with_name("labels.emd")), device=-1)
    return made


@pytest.fixture
def chips():
    return tuple(np.random.default_rng(1).integers(0, 255, (5, 3, 64, 64), np.uint8))


@pytest.mark.parametrize("batch_size", ["1", "2", "64"])
def test_every_chip_gets_its_label_in_order(batch_size, chips, tmp_path):
    function = _function(tmp_path)
    setup = function.getConfiguration(batch_size=batch_size)
    assert (setup["tx"], setup["ty"], setup["batch_size"]) == (64, 64, int(batch_size))
    found = json.loads(function.vectorize(rasters_pixels=chips)["output_vectors"])
    wanted = function._model.classify_chips((torch.from_numpy(np.stack(chips)).float() - 120) / 50)
    assert len(found["features"]) == 5
    for number, (feature, likely) in enumerate(zip(found["features"], wanted, strict=True)):
        info = function._model.output_classes[int(likely.argmax())]
        told = feature["attributes"]
        assert told["OID"] == number + 1
        assert (told["Label"], told["Classname"], told["Classvalue"]) == (info.name, info.name, info.value)
        assert told["Confidence"] == pytest.approx(float(likely.max()), abs=1e-5)
    assert {field["name"] for field in found["fields"]} == set(found["features"][0]["attributes"])


def test_the_host_is_told_how_chips_are_cut(tmp_path):
    function = _function(tmp_path, blacken_around_feature=True, crop_size_fixed=False)
    setup = function.getConfiguration()
    assert (setup["CropSizeFixed"], setup["BlackenAroundFeature"]) == (0, 1)
    assert [p["name"] for p in function.getParameterInfo()] == ["rasters", "model", "batch_size"]


def test_chips_of_another_size_are_brought_to_the_size_of_training(tmp_path):
    function = _function(tmp_path)
    chips = (np.full((3, 40, 20), 80, np.uint8), np.full((3, 64, 64), 80, np.uint8))
    first, second = json.loads(function.vectorize(rasters_pixels=chips)["output_vectors"])["features"]
    assert first["attributes"]["Confidence"] == pytest.approx(second["attributes"]["Confidence"], abs=1e-4)


def test_several_labels_stand_side_by_side(chips, tmp_path):
    function = _function(tmp_path, multilabel=True)
    wanted = function._model.classify_chips((torch.from_numpy(np.stack(chips)).float() - 120) / 50)
    found = json.loads(function.vectorize(rasters_pixels=chips)["output_vectors"])["features"]
    classes = function._model.output_classes
    for feature, likely in zip(found, wanted, strict=True):
        named = {info.name for info, share in zip(classes, likely, strict=True) if share >= 0.5}
        assert set(filter(None, feature["attributes"]["Label"].split(", "))) == named
    assert json.loads(function.vectorize(rasters_pixels=())["output_vectors"])["features"] == []
