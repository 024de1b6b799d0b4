"""What is put into the package of a model that was trained on real data."""

import io
import json

import numpy as np
import pytest
from matplotlib.image import imread

from rasterloom.models.errors import PackageError
from rasterloom.models.pixels.unet import UnetClassifier
from rasterloom.pipeline.datasets.facts import data_facts
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.packages.archive import Archive
from rasterloom.pipeline.packages.findings import LOSSES, RESULTS, gather_findings
from rasterloom.pipeline.packages.load import load_package
from tests.pipeline.datasets.stores import toy_chips, write_store
from tests.pipeline.packages.conftest import PARAMETERS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chips")
    store = write_store(folder / "toy.zarr", *toy_chips(12))
    return prepare_data(store, chip_size=24, batch_size=4, val_split_pct=0.25, working_dir=folder)


@pytest.fixture(scope="module")
def trained(data):
    model = UnetClassifier(data, **PARAMETERS)
    model.fit(2, lr=1e-3, show_progress=False)
    return model


@pytest.fixture(scope="module")
def package(trained, tmp_path_factory):
    return trained.save(tmp_path_factory.mktemp("package") / "toy", save_optimizer=True)


def test_figures_and_pictures_are_of_the_validation_set(trained, data):
    found = gather_findings(trained, compute_metrics=True, pictures=True)
    assert found.confusion.total == len(data.valid) * 24 * 24
    assert found.facts["accuracy"] == pytest.approx(found.confusion.accuracy)
    assert "confusion" not in found.facts
    for name in (LOSSES, RESULTS):
        picture = imread(io.BytesIO(found.pictures[name]))
        assert picture[..., :3].std() > 0.05


def test_on_request_nothing_is_judged_and_nothing_drawn(trained, monkeypatch):
    monkeypatch.setattr("rasterloom.models.pixels.classifier.service", None)
    plain = gather_findings(trained, compute_metrics=False, pictures=True)
    assert set(plain.pictures) == {LOSSES}
    assert plain.confusion is None
    bare = gather_findings(trained, compute_metrics=False, pictures=False)
    assert (bare.pictures, bare.data) == ({}, {})


def test_the_training_data_is_told_and_other_data_is_not(data):
    told = json.loads(json.dumps(data_facts(data)))
    assert (told["train_chips"], told["valid_chips"], told["chip_size"]) == (9, 3, 24)
    assert [band["name"] for band in told["bands"]] == list(data.bands)
    assert sum(told["class_pixels"].values()) == sum(data.class_pixels.values())
    assert data_facts(object()) == {}


def test_the_package_holds_the_page_and_the_pictures(package):
    with Archive(package) as archive:
        assert archive.names == [
            "ArcGISImageClassifier.py",
            "ModelCharacteristics/loss_graph.png",
            "ModelCharacteristics/show_results.png",
            "model_metrics.html",
            "optimizer.pth",
            "toy.emd",
            "toy.safetensors",
        ]
        page = archive.read("model_metrics.html").decode()
    for heading in (
        "Training data",
        "Training",
        "On the validation set",
        "Confusion matrix",
        "Sample results",
    ):
        assert f"<h2>{heading}</h2>" in page


def test_the_description_has_the_keys_that_are_exchanged(package):
    emd = load_package(package).emd
    assert {
        "Framework": "PyTorch",
        "ModelConfiguration": "_unet",
        "ModelType": "ImageClassification",
        "ModelName": "UnetClassifier",
        "ModelFile": "toy.safetensors",
        "InferenceFunction": "ArcGISImageClassifier.py",
        "ModelFormat": "NCHW",
        "ImageHeight": 24,
        "ImageWidth": 24,
        "SupportsVariableTileSize": True,
        "LearningRate": "1.00e-03",
    }.items() <= emd.items()
    assert set(json.loads(emd["per_class_metrics"])) == {"precision", "recall", "f1"}


def test_the_optimiser_comes_back_and_is_what_the_next_fit_begins_with(trained, package, data):
    import torch

    again = UnetClassifier.from_model(package, data)
    loaded = UnetClassifier(data, pretrained_path=package, **PARAMETERS)
    for model in (again, loaded):
        state, wanted = model.optimizer_state["state"], trained.optimizer_state["state"]
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[key]["exp_avg_sq"], wanted[key]["exp_avg_sq"]) for key in wanted)
    before = again.optimizer_state
    again.fit(1, lr=1e-3, show_progress=False)
    assert again.optimizer_state is not before


def test_weights_that_are_taken_in_part_come_without_the_optimiser(package, data):
    model = UnetClassifier(data, **PARAMETERS)
    model.load(package, strict=False)
    assert model.optimizer_state is None


def test_a_package_without_an_optimiser_gives_none(trained, tmp_path):
    path = trained.save(tmp_path / "m", compute_metrics=False)
    assert UnetClassifier.from_model(path).optimizer_state is None


@pytest.mark.parametrize("content", ["payload", "list", "garbage"])
def test_an_optimiser_that_is_none_is_refused_by_name(package, tmp_path, content):
    import shutil

    import torch

    class Payload:
        def __reduce__(self):
            return (pytest.fail, ("code of the package was run",))

    folder = shutil.copytree(package.with_suffix(""), tmp_path / "toy")
    if content == "garbage":
        (folder / "optimizer.pth").write_bytes(np.random.default_rng(0).bytes(100))
    else:
        torch.save(
            {"state": Payload(), "param_groups": []} if content == "payload" else [1],
            folder / "optimizer.pth",
        )
    with pytest.raises(PackageError, match=r"optimizer\.pth"):
        UnetClassifier.from_model(folder)
