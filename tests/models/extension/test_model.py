"""A model of a class that the user writes, for pixels and for objects."""

import importlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from rasterloom.models.contract import Task
from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError
from rasterloom.models.extension.model import ModelExtension
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.packages.load import build_model, load_package
from tests.pipeline.datasets.stores import (
    THINGS,
    bounds,
    boxed_objects,
    square_chips,
    toy_chips,
    write_store,
)
from tests.support.model_classes import (
    CALLS,
    SoftSegmenter,
    TinyDetector,
    TinySegmenter,
    TorchvisionDetector,
    layers,
)

QUIET = {"show_progress": False, "checkpoint": False}


@pytest.fixture(autouse=True)
def _one_thread_and_no_calls():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    CALLS.clear()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    found = {}
    for bands in (3, 5):
        found["pixels", bands] = write_store(folder / f"pixels{bands}.zarr", *toy_chips(16, bands=bands))
        images, outlines, values = square_chips(32, bands=bands)
        objects = boxed_objects([[bounds(mask) for mask in chip] for chip in outlines], values)
        found["objects", bands] = write_store(
            folder / f"objects{bands}.zarr",
            images,
            objects=objects,
            classes=THINGS,
            metadata_format="PASCAL_VOC_rectangles",
        )
    return found


@pytest.fixture
def make(stores, tmp_path):
    def data(task, *, bands=3):
        settings = {"chip_size": 32} if task == "pixels" else {"chip_size": 40}
        return prepare_data(
            stores[task, bands], batch_size=4, val_split_pct=0.25, working_dir=tmp_path, **settings
        )

    return data


def model_of(kind, data, *args, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ModelExtension(data, kind, *args, **kwargs)


CLASSES = {"pixels": TinySegmenter, "objects": TinyDetector}


def predictions(model, images):
    """Everything that a model says of some images, as a list of tensors."""
    model.network.eval()
    with torch.inference_mode():
        found = model.network(images)
        if model.spec.task == Task.OBJECTS:
            found = model.network.objects(images, threshold=0.0, nms_overlap=0.9)
    return [found] if isinstance(found, torch.Tensor) else [v for chip in found for v in chip.values()]


@pytest.mark.parametrize("task", ["pixels", "objects"])
def test_the_loss_falls_by_half(make, task):
    model = model_of(CLASSES[task], make(task))
    model.fit(20, lr=0.01, **QUIET)
    rows = model.history.rows
    assert rows[-1].train_loss < rows[0].train_loss / 2
    assert set(rows[0].metrics) | {"valid_loss"} == set(model.available_metrics)
    monitored = "miou" if task == "pixels" else "average_precision"
    assert rows[-1].metrics[monitored] > 0.5 > rows[0].metrics[monitored]


@pytest.mark.parametrize("bands", [3, 5])
@pytest.mark.parametrize("kind", [TinySegmenter, TinyDetector, TorchvisionDetector])
def test_a_saved_model_predicts_the_same_to_the_last_bit(make, tmp_path, kind, bands):
    data = make("pixels" if kind is TinySegmenter else "objects", bands=bands)
    model = model_of(kind, data, width=12)
    model.fit(1, lr=0.01, **QUIET)
    path = model.save(tmp_path / "mine")
    loaded = ModelExtension.from_model(path, trust=True)
    assert (loaded.spec, loaded.history) == (model.spec, model.history)
    images = next(iter(data.valid_loader()))[0]
    expected, found = predictions(model, images), predictions(loaded, images)
    assert len(expected) == len(found)
    assert sum(values.numel() for values in expected) > 0
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_what_was_loaded_can_be_trained_and_saved_again(make, tmp_path):
    data = make("pixels")
    path = model_of(TinySegmenter, data).save(tmp_path / "first")
    again = ModelExtension.from_emd(data, path, trust=True)
    again.fit(1, lr=0.01, **QUIET)
    second = again.save(tmp_path / "second")
    images = torch.zeros(1, 3, 32, 32)
    other = ModelExtension.from_model(second, trust=True)
    assert torch.equal(predictions(again, images)[0], predictions(other, images)[0])
    started = model_of(SoftSegmenter, data, pretrained_path=second)
    assert torch.equal(started.network.inner.head.weight, again.network.inner.head.weight)
    assert not started.network.inner.backbone[0].weight.requires_grad
    started.unfreeze()
    assert all(p.requires_grad for p in started.network.parameters())


READERS = {
    "ModelExtension": ModelExtension.from_model,
    "ImageryModel": ImageryModel.from_model,
    "build_model": lambda path: build_model(load_package(path)),
}


@pytest.mark.parametrize("reader", READERS)
def test_code_of_a_package_is_not_run_without_trust(make, tmp_path, reader):
    path = model_of(TinySegmenter, make("pixels")).save(tmp_path / "mine", compute_metrics=False)
    with pytest.raises(PackageError, match=r"ModelConfiguration\.py.*trust=True"):
        READERS[reader](path)


def test_the_package_says_what_other_software_looks_for(make, tmp_path):
    model = model_of(TinyDetector, make("objects"), width=8)
    package = load_package(model.save(tmp_path / "mine"), trust=True)
    expected = {
        "ModelName": "ModelExtension",
        "ModelType": "ObjectDetection",
        "ModelConfiguration": "_model_extension_inferencing",
        "ModelConfigurationFile": "ModelConfiguration.py",
        "ModelFileConfigurationClass": "TinyDetector",
        "DatasetType": "PASCAL_VOC_rectangles",
        "Kwargs": '{"width": 8}',
    }
    assert {name: package.emd[name] for name in expected} == expected
    assert "average_precision_score" in package.emd
    assert "class TinyDetector" in package.member("ModelConfiguration.py").decode()
    told = model_of(TinySegmenter, make("pixels")).package_facts(compute_metrics=True)
    assert told["DatasetType"] == "Classified_Tiles"
    assert set(told["per_class_metrics"]["f1"]) == {"field", "water"}


OWN = """
from tests.support.model_classes import TinySegmenter
from torch import nn


class Own(nn.Module):
    "No other process knows its name."

    def __init__(self, bands, outputs):
        super().__init__()
        self.encoder, self.head = nn.Conv2d(bands, 8, 1), nn.Conv2d(8, outputs, 1)

    def forward(self, images):
        return self.head(self.encoder(images))


class Mine(TinySegmenter):
    def get_model(self, data, backbone=None, width=8, **kwargs):
        return Own(len(data.bands), data.c)
"""


def test_package_and_pickle_are_read_where_the_module_is_not(make, tmp_path, monkeypatch):
    """The ranks of a cluster get a model as a pickle, which has the class's source as a package has it."""
    (tmp_path / "own_model.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    model = model_of(importlib.import_module("own_model").Mine, make("pixels"))
    model.freeze()
    path = model.save(tmp_path / "mine", compute_metrics=False)
    model.data = None
    (tmp_path / "mine.pickle").write_bytes(pickle.dumps(model))
    code = (
        "import pathlib, pickle, sys, torch\n"
        "from rasterloom.models import ModelExtension\n"
        "first = ModelExtension.from_model(sys.argv[1], trust=True)\n"
        "second = pickle.loads(pathlib.Path(sys.argv[2]).read_bytes())\n"
        "assert 'own_model' not in sys.modules\n"
        "one, other = (model.network.state_dict().values() for model in (first, second))\n"
        "assert all(map(torch.equal, one, other))\n"
        "print(first.network(torch.zeros(1, 3, 4, 4)).sum().item())\n"
        "print([n for n, p in second.network.named_parameters() if p.requires_grad])\n"
    )
    (tmp_path / "own_model.py").unlink()
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "mine.pickle")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["16.0", "['inner.head.weight', 'inner.head.bias']"]


@pytest.mark.parametrize(("bands", "called"), [(3, "transform_input"), (5, "transform_input_multispectral")])
def test_other_than_three_bands_take_the_multispectral_way(make, bands, called):
    model = model_of(TinySegmenter, make("pixels", bands=bands))
    predictions(model, torch.zeros(1, bands, 32, 32))
    assert [called] == CALLS


def test_the_training_loss_goes_by_on_batch_begin_and_tells_which_part_it_is(make):
    data = make("objects")
    model = model_of(TorchvisionDetector, data)
    batch = next(iter(data.valid_loader()))
    model.network.train()
    model.training_loss(batch)
    model.network.eval()
    state = {name: value.clone() for name, value in model.network.state_dict().items()}
    with torch.no_grad():
        first, second = model.judged(batch)[0], model.judged(batch)[0]
    begun = [call for call in CALLS if call[0] == "on_batch_begin"]
    # a detector has its losses in training mode only
    assert begun == [("on_batch_begin", train, 4, True) for train in (True, False, False)]
    assert torch.equal(first, second)
    assert not any(part.training for part in model.network.modules())
    assert all(torch.equal(state[name], value) for name, value in model.network.state_dict().items())


def test_a_pixel_model_is_judged_in_evaluation_mode_and_gets_masks_with_a_channel(make):
    data = make("pixels")
    model = model_of(TinySegmenter, data)
    model.network.eval()
    images, targets = next(iter(data.valid_loader()))
    with torch.no_grad():
        loss, positions = model.judged((images, targets))
        expected = nn.functional.cross_entropy(model.network.inner(images), targets)
    assert CALLS[0] == ("on_batch_begin", False, (4, 1, 32, 32), False)
    torch.testing.assert_close(loss, expected)
    assert positions.shape == targets.shape


def test_the_threshold_reaches_post_process(make):
    data = make("objects")
    model = model_of(TinyDetector, data)
    images = next(iter(data.valid_loader()))[0]
    model.network.eval()
    with torch.inference_mode():
        everything = model.detect(images, threshold=0.0, nms_overlap=1.0)
        scores = torch.cat([chip["scores"] for chip in everything])
        middle = float(scores.median())
        CALLS.clear()
        sure = model.detect(images, threshold=middle, nms_overlap=1.0)
        model.detect(images, threshold=0.0, nms_overlap=0.25)
    assert [call[1:] for call in CALLS if call[0] == "post_process"] == [
        (1.0, middle, 40, "cpu"),
        (0.25, 0.0, 40, "cpu"),
    ]
    assert sum(len(chip["scores"]) for chip in sure) == int((scores >= middle).sum())


def test_pixels_below_the_threshold_are_left_to_post_process(make):
    model = model_of(TinySegmenter, make("pixels"))
    model.network.eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        raw = model.network.inner(images).softmax(dim=1).max(dim=1)
        found = model.network.scores(images, threshold=float(raw.values.median()))
        at_all = model.network.scores(images, threshold=0.0).argmax(dim=1)
    expected = torch.where(raw.values < raw.values.median(), 0, raw.indices)
    assert torch.equal(found.argmax(dim=1), expected)
    assert torch.equal(at_all, raw.indices)
    assert torch.equal(found.sum(dim=1), torch.ones(2, 8, 8))


def test_probabilities_of_post_process_are_kept(make):
    model = model_of(SoftSegmenter, make("pixels"))
    model.network.eval()
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        expected = model.network.inner(images).softmax(dim=1)
        assert torch.equal(model.probabilities(model.network(images)), expected)


def test_average_precision_is_told_by_class_and_follows_its_thresholds(make):
    model = model_of(TinyDetector, make("objects"))
    model.fit(20, lr=0.01, **QUIET)
    by_class = model.average_precision_score()
    assert set(by_class) == {"house", "tree"}
    mean = model.average_precision_score(mean=True)
    assert mean == pytest.approx(np.nanmean(list(by_class.values())))
    assert mean > model.average_precision_score(iou_thresh=0.95, mean=True)
    assert model.average_precision_score(detect_thresh=1.0, mean=True) == 0.0
    with pytest.raises(SettingError, match="iou_thresh=0"):
        model.average_precision_score(iou_thresh=0)
    with pytest.raises(SettingError, match="is for objects"):
        model_of(TinySegmenter, make("pixels")).average_precision_score()


def test_a_rate_is_found_for_both_tasks(make):
    for task, kind in CLASSES.items():
        assert 1e-5 < model_of(kind, make(task)).lr_find(allow_plot=False) < 1


def test_backbone_and_arguments_reach_get_model_and_are_kept(make, tmp_path):
    data = make("pixels")
    model = model_of(TinySegmenter, data, layers, width=10)
    assert model.spec.parameters["backbone"] == "function:tests.support.model_classes:layers"
    assert model.network.inner.head.in_channels == 10
    loaded = ModelExtension.from_model(model.save(tmp_path / "mine"), trust=True)
    assert loaded.network.inner.head.in_channels == 10
    assert model.tile_multiple == loaded.tile_multiple == 2


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"data": None}, "from_model"),
        ({"model_conf": TinySegmenter()}, "give the class itself"),
        ({"model_conf": nn.Module}, "lacks get_model, on_batch_begin"),
        ({"backbone": lambda: None}, "installed package holds"),
        ({"size": {1, 2}}, "cannot be saved with the model"),
    ],
)
def test_what_cannot_work_is_refused_before_training(make, change, remedy):
    settings = {"data": make("pixels"), "model_conf": TinySegmenter, **change}
    with pytest.raises(SettingError, match=remedy):
        ModelExtension(**settings)


@pytest.mark.parametrize(("task", "told"), [("pixels", "methods of its class"), ("objects", "of objects")])
@pytest.mark.parametrize("framework", ["torchscript", "onnx"])
def test_other_frameworks_are_refused(make, tmp_path, task, told, framework):
    model = model_of(CLASSES[task], make(task))
    with pytest.raises(SettingError, match=f"{told}.*Use framework='PyTorch'"):
        model.save(tmp_path / "mine", framework=framework)


def test_data_of_another_task_is_refused(make, tmp_path):
    path = model_of(TinySegmenter, make("pixels")).save(tmp_path / "mine", compute_metrics=False)
    with pytest.raises(ModelMismatchError):
        ModelExtension.from_model(path, make("objects"), trust=True)


def test_a_description_alone_tells_the_tile_and_builds_nothing(make):
    spec = model_of(TinySegmenter, make("pixels")).spec
    assert ModelExtension.without_network(spec).tile_multiple == 2
    with pytest.raises(SettingError, match="with the class"):
        ModelExtension.from_spec(spec)
