"""One call makes a package of folders of chips, and says first what cannot work."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from rasterloom.cluster.background import Job
from rasterloom.models import UnetClassifier
from rasterloom.models.errors import (
    MissingInputError,
    OutputExistsError,
    PackageError,
    PretrainedError,
    SettingError,
    StoreError,
)
from rasterloom.pipeline import load_package, train_model
from rasterloom.pipeline.datasets.data import ImageryData
from tests.pipeline.datasets.stores import write_store

SMALL = {
    "encoder_depth": "3",
    "decoder_channels": "[16, 16, 8]",
    "chip_size": "24",
    "iters_per_epoch": "2",
}
BACKBONE = "timm:test_resnet"


def _train(
    chips: Any, output: Path | None, *, arguments: dict[str, Any] | None = None, **changes: Any
) -> Any:
    settings: dict[str, Any] = {
        "max_epochs": 1,
        "learning_rate": 0.001,
        "backbone_model": BACKBONE,
        "pretrained": False,
        "progress": False,
        "output_name": output,
    }
    return train_model(chips, "UNET", SMALL | (arguments or {}), **(settings | changes))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What fit was asked for; it trains nothing."""
    seen: dict[str, Any] = {}

    def fit(self: UnetClassifier, epochs: int, **settings: Any) -> None:
        seen.update(settings, epochs=epochs, model=self, data=self.data)

    monkeypatch.setattr(UnetClassifier, "fit", fit)
    return seen


def test_chips_become_a_package_that_can_be_run(toy_store, tmp_path):
    path = _train(toy_store, tmp_path / "woods")
    assert path == str(tmp_path / "woods.dlpk")
    package = load_package(path)
    assert package.spec.model == "UnetClassifier"
    assert package.spec.parameters["backbone"] == BACKBONE
    assert package.spec.parameters["encoder_depth"] == 3
    assert package.spec.tile_size == 24
    assert [row.epoch for row in package.history.rows] == [1]


def test_the_same_call_gives_the_same_weights_and_another_seed_others(toy_store, tmp_path):
    def weights(name: str, **changes: Any) -> torch.Tensor:
        tensors = load_package(_train(toy_store, tmp_path / name, **changes)).tensors()
        return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])

    first = weights("a")
    assert torch.equal(weights("b"), first)
    assert not torch.equal(weights("c", seed=7), first)


def test_defaults_are_those_of_the_reference(toy_store, tmp_path, asked):
    _train(toy_store, tmp_path / "m", max_epochs=None, learning_rate=0)
    assert (asked["epochs"], asked["lr"], asked["early_stopping"]) == (20, None, True)
    data: ImageryData = asked["data"]
    assert (data.batch_size, data.seed) == (2, 42)
    assert len(data.valid) == round(0.1 * (len(data.valid) + len(data.train)))


def test_every_argument_reaches_who_takes_it(toy_store, tmp_path, asked):
    _train(
        toy_store,
        tmp_path / "m",
        arguments={"monitor": "miou", "class_balancing": "true", "class_mapping": {"1": "trees"}},
        batch_size="3",
        max_epochs="7",
        learning_rate="0.02",
        validation_percent="25",
        stop_training=False,
        seed=5,
        client=None,
    )
    assert (asked["epochs"], asked["lr"], asked["early_stopping"], asked["monitor"]) == (
        7,
        0.02,
        False,
        "miou",
    )
    assert "client" not in asked
    data: ImageryData = asked["data"]
    assert (data.batch_size, data.seed, len(data.valid)) == (3, 5, 6)
    assert asked["model"].spec.parameters["class_balancing"] is True
    assert "trees" in [info.name for info in asked["model"].spec.classes]


def test_a_client_is_handed_to_the_training(toy_store, tmp_path, asked):
    marker = object()
    _train(toy_store, tmp_path / "m", client=marker)
    assert asked["client"] is marker
    with pytest.raises(SettingError, match="a client's workers"):
        _train(toy_store, tmp_path / "n", client=marker, context={"processorType": "CPU"})


def test_backbones_may_be_written_in_capitals(toy_store, tmp_path, asked):
    for given, name in (("RESNET18", "resnet18"), ("MOBILENET_V2", "mobilenet_v2"), (BACKBONE, BACKBONE)):
        arguments = {"encoder_depth": 3, "decoder_channels": [16, 16, 8]}
        _train(toy_store, tmp_path / "m", backbone_model=given, arguments=arguments, overwrite_model=True)
        assert asked["model"].spec.parameters["backbone"] == name


def test_a_frozen_backbone_of_a_pretrained_model_keeps_its_weights(toy_store, tmp_path):
    first = _train(toy_store, tmp_path / "first")
    frozen = _train(toy_store, tmp_path / "frozen", pretrained_model=first)
    free = _train(toy_store, tmp_path / "free", pretrained_model=Path(first), freeze_model=False)
    before, kept, moved = (load_package(path).tensors() for path in (first, frozen, free))
    layers = [key for key in before if key.startswith("encoder.") and before[key].ndim == 4]
    bands = min(before[key].shape[1] for key in layers)
    deep = [key for key in layers if before[key].shape[1] > bands]  # the first learns on for bands of its own
    assert all(torch.equal(kept[key], before[key]) for key in deep)
    assert not any(torch.equal(moved[key], before[key]) for key in deep)
    head = [key for key in before if not key.startswith("encoder.") and before[key].ndim == 4]
    assert any(not torch.equal(kept[key], before[key]) for key in head)


def test_a_pretrained_model_may_be_installed_or_a_model_object(toy_store, tmp_path, monkeypatch, asked):
    from rasterloom.pipeline import Model

    saved = _train(toy_store, tmp_path / "first")
    monkeypatch.setenv("RASTERLOOM_REGISTRY", str(tmp_path / "registry"))
    Model(saved).install(name="woods")
    wanted = load_package(saved).tensors()
    for given in ("woods", Model(saved)):
        _train(toy_store, tmp_path / "m", pretrained_model=given, overwrite_model=True)
        state = asked["model"].network.state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
    with pytest.raises(SettingError, match="pretrained_model"):
        _train(toy_store, tmp_path / "n", pretrained_model=3)


def test_pretrained_weights_are_asked_for_unless_told(toy_store, tmp_path):
    with pytest.raises(PretrainedError, match="pretrained=False"):
        _train(toy_store, tmp_path / "m", backbone_model="resnet18", pretrained=True)


def test_several_folders_are_one_set_of_chips(toy_store, tmp_path, asked):
    again = shutil.copytree(toy_store, tmp_path / "again.zarr")
    _train([toy_store, again], tmp_path / "m")
    assert len(asked["data"].train) + len(asked["data"].valid) == 48


def test_folders_that_differ_are_refused(toy_store, tmp_path):
    import numpy as np

    chips = np.zeros((4, 4, 40, 40), np.uint8)
    other = write_store(tmp_path / "other.zarr", chips, np.ones((4, 40, 40), np.uint8))
    with pytest.raises(StoreError, match=r"number of bands .* and .*other\.zarr has 4|tile size"):
        _train([toy_store, other], tmp_path / "m")


def test_a_name_alone_goes_beside_the_chips_and_none_is_made_up(toy_store, tmp_path, asked):
    chips = shutil.copytree(toy_store, tmp_path / "fields.zarr")
    assert _train(chips, "trees") == str(tmp_path / "models" / "trees.dlpk")
    assert _train(chips, None) == str(tmp_path / "models" / "unet_fields.dlpk")
    assert _train(chips, tmp_path / "x.dlpk") == str(tmp_path / "x.dlpk")


def test_what_stands_under_the_name_is_left_alone_unless_told(toy_store, tmp_path, asked):
    path = Path(_train(toy_store, tmp_path / "m"))
    before, asked_before = path.read_bytes(), dict(asked)
    asked.clear()
    with pytest.raises(OutputExistsError, match="overwrite_model=True"):
        _train(toy_store, tmp_path / "m")
    assert path.read_bytes() == before
    assert not asked, "it must be told before the training"
    assert asked_before
    assert _train(toy_store, tmp_path / "m", overwrite_model=True) == str(path)


def test_a_job_is_done_in_the_background(toy_store, tmp_path):
    job = _train(toy_store, tmp_path / "m", future=True)
    assert isinstance(job, Job)
    assert job.result(120) == str(tmp_path / "m.dlpk")
    assert job.progress == 1


def test_a_job_that_fails_says_so_when_it_is_asked(tmp_path):
    job = _train(tmp_path / "gone.zarr", tmp_path / "m", future=True)
    with pytest.raises(MissingInputError, match="gone"):
        job.result(60)


def test_an_unknown_backbone_is_named(toy_store, tmp_path):
    with pytest.raises(SettingError, match="resnet99"):
        _train(toy_store, tmp_path / "m", backbone_model="RESNET99")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arguments": {"chipsize": 3}}, r"does not take chipsize.*model_arguments also takes .*chip_size"),
        ({"arguments": {"lr": 3}}, "pass learning_rate= instead"),
        ({"arguments": {"dice_loss_fraction": "much"}}, "dice_loss_fraction"),
        ({"gis": object()}, "gis must be None"),
        ({"color": "red"}, "no argument 'color'"),
        ({"context": {"cellSize": 3}}, "no key 'cellSize': known are processorType"),
        ({"context": {"processorType": "TPU"}}, "use 'CPU' or 'GPU'"),
        ({"batch_size": 1}, "batch_size=1"),
        ({"max_epochs": 0}, "max_epochs=0"),
        ({"learning_rate": -1}, "learning_rate=-1"),
        ({"validation_percent": 0}, "leaves no chips"),
        ({"validation_percent": 100}, "leaves no chips"),
        ({"validation_percent": "a tenth"}, "no number"),
    ],
)
def test_what_cannot_work_is_said_before_any_chip_is_read(changes, words, tmp_path):
    with pytest.raises(SettingError, match=words):
        _train(tmp_path / "nowhere.zarr", tmp_path / "m", **changes)


def test_an_extension_is_trained_on_by_its_own_code_where_that_is_trusted(toy_store, tmp_path):
    from rasterloom.models import ModelExtension
    from rasterloom.pipeline import prepare_data
    from tests.support.model_classes import TinySegmenter

    data = prepare_data(toy_store, chip_size=24, batch_size=4, working_dir=tmp_path)
    first = ModelExtension(data, TinySegmenter).save(tmp_path / "first", compute_metrics=False)
    settings: dict[str, Any] = {"max_epochs": 1, "learning_rate": 0.01, "progress": False}
    arguments = {"chip_size": 24, "iters_per_epoch": 2}

    def go_on(name: str, **more: Any) -> str:
        return train_model(
            toy_store,
            "ModelExtension",
            arguments,
            output_name=tmp_path / name,
            pretrained_model=first,
            **settings,
            **more,
        )

    with pytest.raises(PackageError, match=r"ModelConfiguration\.py"):
        go_on("a")
    moved = load_package(go_on("b", trust=True, freeze_model=False), trust=True)
    assert moved.spec.model == "ModelExtension"
    before, after = load_package(first, trust=True).tensors(), moved.tensors()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(SettingError, match="leave out backbone_model"):
        go_on("c", trust=True, backbone_model="RESNET18")
