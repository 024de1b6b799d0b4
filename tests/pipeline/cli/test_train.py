"""``rasterloom train``: which words become which arguments."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from rasterloom.models.errors import OutputExistsError
from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.training import train_model

SIGNATURE = signature(train_model.train_model)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What train_model was called with, by the names of its parameters."""
    given: dict[str, Any] = {}

    def note(*values: Any, **named: Any) -> str:
        bound = SIGNATURE.bind(*values, **named).arguments
        given.update(bound.pop("kwargs"), **bound)
        return "model.dlpk"

    monkeypatch.chdir(tmp_path)
    for name in ("chips.zarr", "more.zarr"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(train_model, "train_model", note)
    return given


def _train(*words: str) -> int:
    return run(["train", "chips.zarr", *words])


def test_what_is_not_said_is_as_it_always_was(
    called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train() == 0
    assert (called["input_folder"], called["model_type"]) == (["chips.zarr"], "UNET")
    assert called["model_arguments"] == {"chip_size": 224}
    assert (called["max_epochs"], called["learning_rate"], called["batch_size"]) == (10, None, 16)
    assert (called["validation_percent"], called["stop_training"]) == (10, False)
    assert called["output_name"] == Path("model.dlpk").absolute()
    assert (called["pretrained"], called["client"], called["context"]) == (True, None, {})
    told = capsys.readouterr()
    assert told.out == "model.dlpk\n"
    assert "next: rasterloom classify-pixels" in told.err


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("MASKRCNN", "detect-objects RASTER model.dlpk"),
        ("FEATURE_CLASSIFIER", "classify-objects RASTER model.dlpk -f FEATURES"),
        ("CHANGEDETECTOR", "detect-change FROM TO model.dlpk"),
        ("HED_EDGEDETECTOR", "classify-pixels RASTER model.dlpk"),
        ("CONNECTNET", "classify-pixels RASTER model.dlpk"),
    ],
)
@pytest.mark.usefixtures("called")
def test_the_next_command_is_one_that_takes_the_model(
    kind: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train("--model-type", kind) == 0
    assert f"next: rasterloom {command}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("-o trees.dlpk", "output_name", "trees.dlpk"),
        ("--model UnetClassifier", "model_type", "UnetClassifier"),
        ("--backbone resnet18", "backbone_model", "resnet18"),
        ("--no-pretrained", "pretrained", False),
        ("--pretrained-model old.dlpk", "pretrained_model", "old.dlpk"),
        ("--no-freeze", "freeze_model", False),
        ("--trust", "trust", True),
        ("--epochs 3", "max_epochs", 3),
        ("--lr 0.01", "learning_rate", 0.01),
        ("--batch-size 4", "batch_size", 4),
        ("--early-stopping", "stop_training", True),
        ("--val-share 0.25", "validation_percent", 25),
        ("--processor cpu", "context", {"processorType": "CPU"}),
        ("--seed 7", "seed", 7),
        ("--overwrite", "overwrite_model", True),
        ("-q", "progress", False),
        ("more.zarr", "input_folder", ["chips.zarr", "more.zarr"]),
        ("--chip-size 64", "model_arguments", {"chip_size": 64}),
        ("--class-balancing", "model_arguments", {"chip_size": 224, "class_balancing": True}),
        ("--dice 0.5", "model_arguments", {"chip_size": 224, "dice_loss_fraction": 0.5}),
        (
            "--set focal_loss=true --set bands=[1,2]",
            "model_arguments",
            {"chip_size": 224, "focal_loss": "true", "bands": "[1,2]"},
        ),
    ],
)
def test_every_option_reaches_its_argument(words: str, name: str, value: Any, called: dict[str, Any]) -> None:
    assert _train(*words.split()) == 0
    if isinstance(called[name], Path):
        assert called[name] == Path(value).absolute()
    else:
        assert called[name] == value


def test_workers_train_together(called: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    from rasterloom.pipeline.cli import train

    asked: list[Any] = []

    @contextmanager
    def client(*given: Any) -> Any:
        asked.append(given)
        yield "client"

    monkeypatch.setattr(train, "client_of", client)
    assert _train("-w", "2") == 0
    assert (asked, called["client"]) == ([(2, None)], "client")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.zarr"], "no chips at gone.zarr"),
        (["--set", "focal_loss"], "--set focal_loss cannot be read"),
        (["--set", "=3"], "cannot be read"),
    ],
)
def test_what_cannot_be_is_said(
    words: list[str], message: str, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(*words) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not called


def test_a_name_that_is_taken_is_said_in_words_of_the_command(
    called: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def taken(*_: Any, **__: Any) -> None:
        raise OutputExistsError("model.dlpk exists: choose another name, or use overwrite_model=True.")

    monkeypatch.setattr(train_model, "train_model", taken)
    assert _train() == 1
    assert "use --overwrite" in " ".join(capsys.readouterr().err.split())
