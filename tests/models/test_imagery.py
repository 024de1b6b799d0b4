import dataclasses
import inspect

import pytest
import torch

from rasterloom.models import imagery
from rasterloom.models.contract import ClassInfo, Normalization
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.models.history import EpochRow, History
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.pixels.unet import UnetClassifier

OTHER_SCALING = Normalization((1.0,) * 3, (2.0,) * 3)


@pytest.fixture
def calls(monkeypatch):
    """Services that note what they are called with."""
    noted = {}

    def fake(name):
        def call(*args, **kwargs):
            noted[name] = (args, kwargs)
            return {
                "fit": History((EpochRow(1, 0.5, 0.4),), 0.01),
                "find_rate": type("Curve", (), {"best": 0.003}),
            }.get(name)

        return call

    monkeypatch.setattr(imagery, "service", fake)
    return noted


@pytest.fixture
def model(make_data, shape):
    return UnetClassifier(make_data(), **shape)


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (
            "fit",
            {
                "epochs": 10,
                "lr": None,
                "one_cycle": True,
                "early_stopping": False,
                "checkpoint": True,
                "tensorboard": False,
                "monitor": "valid_loss",
            },
        ),
        (
            "save",
            {
                "framework": "PyTorch",
                "publish": False,
                "gis": None,
                "compute_metrics": True,
                "save_optimizer": False,
                "save_inference_file": True,
            },
        ),
        ("lr_find", {"allow_plot": True}),
        ("show_results", {"rows": 5}),
        ("from_model", {"data": None, "trust": False}),
    ],
)
def test_the_verbs_have_the_documented_defaults(verb, expected):
    parameters = inspect.signature(getattr(ImageryModel, verb)).parameters
    assert {name: p.default for name, p in parameters.items() if p.default is not p.empty} == expected


def test_fit_hands_its_settings_on_and_keeps_the_table(model, calls):
    model.fit(3, monitor="miou", seed=7)
    (given, data), settings = calls["fit"]
    assert (given, data) == (model, model.data)
    assert (settings["epochs"], settings["monitor"], settings["seed"]) == (3, "miou", 7)
    model.fit(1)
    assert [row.epoch for row in model.history.rows] == [1, 2]


def test_a_monitor_that_is_no_column_lists_the_columns(model):
    with pytest.raises(SettingError, match=r"valid_loss.*accuracy.*miou.*dice"):
        model.fit(monitor="f1")


def test_lr_find_gives_the_rate_and_draws_only_when_asked(model, calls):
    assert model.lr_find(allow_plot=False) == 0.003
    assert "plot_rates" not in calls
    model.lr_find()
    assert "plot_rates" in calls


def test_losses_are_drawn_only_after_training(model, calls):
    with pytest.raises(SettingError, match="call fit first"):
        model.plot_losses()
    model.fit(1)
    model.plot_losses()
    assert calls["plot_losses"][0] == (model.history,)


@pytest.mark.parametrize("verb", ["fit", "lr_find", "show_results"])
def test_verbs_that_need_data_say_how_to_get_it(model, verb):
    bare = UnetClassifier.from_spec(model.spec)
    with pytest.raises(SettingError, match=rf"{verb} needs data .*from_model\(path, data="):
        getattr(bare, verb)()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"framework": "tflite"}, "use one of 'PyTorch', 'torchscript', 'onnx'.*TensorFlow networks"),
        ({"framework": "TF-ONNX"}, "onnx is read by most programs"),
        ({"framework": "caffe"}, r"use one of 'PyTorch', 'torchscript', 'onnx'\.$"),
        ({"gis": object()}, "gis=None.*registry="),
        ({"save_optimizer": True}, "no optimiser yet. Call fit first"),
        ({"save_optimizer": True, "framework": "onnx"}, "not trained on. Use framework='PyTorch'"),
        ({"over_write": True}, "save does not take over_write: it takes overwrite, registry"),
    ],
)
def test_ways_of_saving_that_do_not_exist_are_refused(model, tmp_path, kwargs, message):
    with pytest.raises(SettingError, match=message):
        model.save(tmp_path / "m", **kwargs)


def test_a_name_alone_is_saved_and_found_in_the_working_folder(model, make_data, shape):
    path = model.save("fields", compute_metrics=False)
    assert path == model.data.working_dir / "models" / "fields.dlpk"
    other = UnetClassifier(make_data(), **shape)
    other.load("fields")
    for one, two in zip(
        model.network.state_dict().values(), other.network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)


def test_weights_bring_their_scaling_along(model, tmp_path, make_data, shape):
    path = model.save(tmp_path / "m", compute_metrics=False)
    data = dataclasses.replace(make_data(), normalization=OTHER_SCALING)
    loaded = UnetClassifier.from_model(path, data)
    trained = UnetClassifier(data, pretrained_path=path, **shape)
    for found in (loaded, trained):
        assert found.data.normalization == found.spec.normalization == model.spec.normalization
    assert data.normalization == OTHER_SCALING
    assert UnetClassifier.from_emd(None, path).data is None


def test_a_model_with_other_classes_gives_its_fitting_weights_only_without_strict(
    model, tmp_path, make_data, shape
):
    path = model.save(tmp_path / "m", compute_metrics=False)
    data = make_data(classes=(ClassInfo(5, "Roof", (1, 2, 3)),))
    other = UnetClassifier(data, **shape)
    with pytest.raises(ModelMismatchError, match="class values"):
        other.load(path)
    with pytest.raises(ModelMismatchError, match="class values"):
        UnetClassifier.from_model(path, data)
    with pytest.raises(SettingError, match="it takes strict"):
        other.load(path, stict=False)
    other.load(path, strict=False)
    first = "decoder.blocks.0.conv1.0.weight"
    assert torch.equal(other.network.state_dict()[first], model.network.state_dict()[first])


def test_the_abstract_class_loads_any_model_and_a_wrong_class_is_named(model, tmp_path):
    path = model.save(tmp_path / "m", compute_metrics=False)
    assert isinstance(ImageryModel.from_model(path), UnetClassifier)

    class Other(UnetClassifier):
        pass

    with pytest.raises(ModelMismatchError, match=r"holds a UnetClassifier, not a Other: use UnetClassifier"):
        Other.from_model(path)
