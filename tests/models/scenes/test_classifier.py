"""The classifier of whole chips as its user meets it."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rasterloom.models import FeatureClassifier, TorchSceneClassifier
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline import estimate_batch_size, prepare_data, train_model
from tests.pipeline.datasets.stores import toy_chips, write_store
from tests.support.scenes import SIDE, TINY, coloured, write_scenes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Mostly meadows, some roofs, few lakes."""
    positions = np.array([0, 0, 1, 0, 2, 0, 1, 0] * 5)
    return write_scenes(tmp_path_factory.mktemp("chips") / "one.zarr", positions)


@pytest.fixture(scope="module")
def several_store(tmp_path_factory):
    positions = np.array([[(n >> place) & 1 for place in range(3)] for n in range(8)] * 4)
    return write_scenes(tmp_path_factory.mktemp("chips") / "several.zarr", positions)


def _data(store, folder, **settings):
    settings = {"chip_size": SIDE, "batch_size": 8, "val_split_pct": 0.25, "transforms": None} | settings
    return prepare_data(store, working_dir=folder, **settings)


@pytest.fixture(scope="module")
def data(store, tmp_path_factory):
    return _data(store, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def several_data(several_store, tmp_path_factory):
    return _data(several_store, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def learnt(data):
    """A model that knows the classes."""
    return _learnt(data, epochs=5)


@pytest.fixture(scope="module")
def learnt_several(several_data):
    return _learnt(several_data, epochs=7)


def _learnt(data, *, epochs):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    model = FeatureClassifier(data, **TINY)
    model.fit(epochs, lr=5e-3, checkpoint=False, show_progress=False)
    torch.set_num_threads(threads)
    return model


def _answers(model):
    model.network.eval()
    images = torch.from_numpy(coloured(np.array([0, 1, 2, 1]), seed=9)).float()
    mean, std = (torch.tensor(v)[:, None, None] for v in _scaling(model))
    return model.classify_chips((images - mean) / std)


def _scaling(model):
    return model.spec.normalization.mean, model.spec.normalization.std


def test_it_learns_what_chips_are(learnt):
    assert learnt.history.rows[-1].metrics["accuracy"] == 1.0
    assert learnt.accuracy() == 1.0
    assert _answers(learnt).argmax(dim=1).tolist() == [0, 1, 2, 1]
    assert set(learnt.history.rows[-1].metrics) == set(learnt.available_metrics) - {"valid_loss"}


def test_it_learns_several_labels(learnt_several):
    assert learnt_several.multilabel
    assert learnt_several.history.rows[-1].metrics["accuracy"] > 0.9
    assert (_answers(learnt_several) >= 0.5).tolist() == torch.eye(3)[[0, 1, 2, 1]].bool().tolist()


@pytest.mark.parametrize("which", ["learnt", "learnt_several"])
def test_a_saved_model_answers_the_same_and_knows_how_chips_are_cut(which, request, tmp_path):
    model = request.getfixturevalue(which)
    path = model.save(tmp_path / "scenes", compute_metrics=False)
    loaded = FeatureClassifier.from_model(path)
    assert torch.equal(_answers(model), _answers(loaded))
    assert loaded.chips == model.chips
    assert loaded.multilabel == model.multilabel
    assert loaded.spec == model.spec


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch calls TorchScript deprecated
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("framework", ["torchscript", "onnx"])
def test_a_model_is_written_as_a_program(framework, learnt_several, tmp_path):
    if framework == "onnx":
        pytest.importorskip("onnxscript", reason="writes ONNX files")
        pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
    path = learnt_several.save(tmp_path / "scenes", framework=framework, compute_metrics=False)
    loaded = TorchSceneClassifier.from_model(path, trust=True)
    assert loaded.multilabel
    torch.testing.assert_close(_answers(loaded), _answers(learnt_several), rtol=0, atol=1e-4)


def test_a_package_holds_figures_pictures_and_how_chips_are_cut(store, tmp_path):
    data = _data(store, tmp_path)
    model = FeatureClassifier(data, **TINY)
    model.fit(1, lr=1e-3, checkpoint=False, show_progress=False)
    path = model.save(tmp_path / "scenes")
    emd = json.loads((path.with_suffix("") / "scenes.emd").read_text())
    assert (emd["ModelType"], emd["ModelConfiguration"]) == ("ObjectClassification", "_FeatureClassifier")
    assert (emd["MetaDataMode"], emd["CropSizeFixed"], emd["BlackenAroundFeature"]) == ("Labeled_Tiles", 1, 0)
    assert set(json.loads(emd["per_class_metrics"])) == {"precision", "recall", "f1"}
    page = (path.with_suffix("") / "model_metrics.html").read_text()
    assert "Chips of the validation set: rows are the truth" in page
    assert (path.with_suffix("") / "ModelCharacteristics" / "show_results.png").stat().st_size > 1000


def test_chips_that_are_cut_around_features_are_described_so(tmp_path):
    parameters = {"blacken_around_feature": True, "fix_chip_size": False}
    store = write_scenes(tmp_path / "cut.zarr", np.array([0, 1] * 8), parameters=parameters)
    model = FeatureClassifier(_data(store, tmp_path), **TINY)
    assert model.chips.blacken_around_feature
    assert not model.chips.crop_size_fixed


@pytest.mark.parametrize("transforms", [None, False])
def test_chips_as_large_as_their_feature_are_enlarged_to_one_size(transforms, tmp_path):
    sizes = np.array([(16, 8), (32, 32), (5, 30), (20, 20)] * 4)
    parameters = {"fix_chip_size": False}
    store = write_scenes(tmp_path / "cut.zarr", np.array([0, 1] * 8), parameters=parameters, sizes=sizes)
    data = _data(store, tmp_path, chip_size=24, transforms=transforms)
    side = 32 if transforms is False else 24
    assert FeatureClassifier(data, **TINY).spec.tile_size == side
    images = torch.cat([images for images, _ in data.valid_dl])
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.normalization.mean, data.normalization.std))
    stored = torch.from_numpy(data.valid.source.read(data.valid.indices, ()).images).float()
    for image, pixels, (height, width) in zip(images, stored, sizes[data.valid.indices], strict=True):
        content = pixels[None, :, :height, :width]
        wanted = F.interpolate(content, (side, side), mode="bilinear", antialias=True)[0]
        torch.testing.assert_close(image * std + mean, wanted, atol=0.01, rtol=0)


def test_rare_classes_are_seen_as_often_as_the_most_frequent(data):
    torch.manual_seed(0)
    model = FeatureClassifier(data, oversample=True, **TINY)
    assert model.spec.parameters["oversample"] is True
    seen = model._data_for("fit")
    labels = torch.cat([labels for _, labels in seen.train_dl])
    plain = torch.cat([labels for _, labels in data.train_dl])
    assert plain.bincount().min() < plain.bincount().max()
    assert labels.bincount().tolist() == [int(plain.bincount().max())] * 3
    assert len(seen.valid) == len(data.valid)
    assert model._data_for("show_results") is model.data
    model.fit(1, lr=1e-3, checkpoint=False, show_progress=False)


def test_mixup_trains(data):
    model = FeatureClassifier(data, mixup=True, **TINY)
    assert model.mixup
    model.fit(1, lr=1e-3, checkpoint=False, show_progress=False)
    assert np.isfinite(model.history.rows[0].train_loss)


def test_a_model_starts_from_another_of_other_classes_without_strictness(learnt, several_data, tmp_path):
    path = learnt.save(tmp_path / "scenes", compute_metrics=False)
    model = FeatureClassifier(several_data, **TINY)
    model.load(path, strict=False)
    old, new = (m.network.encoder.state_dict() for m in (learnt, model))
    assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"oversample": True}, "oversample=True cannot work for chips of several labels"),
        ({"colour": 1}, "FeatureClassifier does not take colour"),
        ({"multilabel": False}, "FeatureClassifier does not take multilabel"),
        ({"mixup": 1}, "mixup=1 is not a switch"),
        ({"backend": "tensorflow"}, "backend='tensorflow' cannot work"),
        ({"backbone": "resnet43"}, "is not known. Did you mean"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message, several_data):
    with pytest.raises(SettingError, match=message):
        FeatureClassifier(several_data, **(TINY | settings))


def test_chips_of_one_class_teach_nothing(tmp_path):
    store = write_scenes(tmp_path / "same.zarr", np.array([0] * 8))
    data = _data(store, tmp_path, remap_classes={5: 2, 9: 2})
    with pytest.raises(SettingError, match="the chips have one class"):
        FeatureClassifier(data, **TINY)


def test_chips_for_pixels_are_refused(tmp_path):
    data = _data(write_store(tmp_path / "toy.zarr", *toy_chips(8)), tmp_path)
    with pytest.raises(ModelMismatchError, match="FeatureClassifier learns scenes"):
        FeatureClassifier(data, **TINY)


def test_chips_of_no_class_are_left_out(tmp_path):
    positions = np.array([0, 1, -1, -1] * 6)
    data = _data(write_scenes(tmp_path / "some.zarr", positions), tmp_path)
    indices = np.concatenate([data.train.indices, data.valid.indices])
    assert sorted(indices.tolist()) == np.flatnonzero(positions >= 0).tolist()


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_efficientnet", "vgg11", "densenet121"])
def test_backbones_of_every_kind_label_chips(name, data):
    model = FeatureClassifier(data, backbone=name, pretrained=False)
    images, labels = next(iter(data.valid_dl))
    model.network.train()
    model.training_loss((images, labels)).backward()
    assert _answers(model).shape == (4, 3)
    model.network.eval()
    assert model.heat(images[:1], labels[:1]).shape == (1, SIDE, SIDE)


def test_transformers_take_chips_of_their_own_size(data):
    assert FeatureClassifier(data, backbone="timm:test_vit", pretrained=False).tile_multiple == SIDE
    assert FeatureClassifier(data, **TINY).tile_multiple == 1
    assert "timm:swin_tiny_patch4_window7_224" in FeatureClassifier.transformer_backbones()


def test_train_model_trains_it_by_its_model_type(store, tmp_path):
    path = train_model(
        store,
        "feature_classifier",
        {"oversample": "true", "mixup": "true", "chip_size": SIDE},
        batch_size=8,
        max_epochs=1,
        learning_rate=1e-3,
        backbone_model="timm:test_resnet",
        output_name=tmp_path / "scenes",
        pretrained=False,
    )
    model = FeatureClassifier.from_model(path)
    assert model.spec.parameters["oversample"] is True
    assert model.mixup
    assert len(model.history) == 1


@pytest.mark.parametrize("which", ["learnt", "learnt_several"])
def test_the_batch_that_fits_is_estimated(which, request):
    sizes = estimate_batch_size(request.getfixturevalue(which))
    assert 2 <= sizes.recommended_batchsize <= sizes.max_batchsize
