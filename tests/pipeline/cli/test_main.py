"""The command line teaches, works, and ends with the right code."""

import json
import warnings
from pathlib import Path

import pytest
import rasterio

from rasterloom.models.errors import RunInterrupted, TooManyFailures
from rasterloom.pipeline.cli import main as command_line
from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import write_raster

COMMANDS = [
    str(one.name) for one in (*command_line.app.registered_commands, *command_line.app.registered_groups)
]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def test_help_names_every_command_and_the_way_to_begin(
    plain: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert "rasterloom demo" in text


def test_the_steps_and_the_clusters_have_their_commands() -> None:
    wanted = {"export-training-data", "train", "classify-pixels", "detect-objects", "suppress", "accuracy"}
    wanted |= {"classify-objects", "detect-change", "info", "demo", "models", "cluster", "doctor"}
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str, plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"rasterloom {name} " in capsys.readouterr().out.split("Example")[1]


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"rasterloom {version('rasterloom')}"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nonsense"], 2, "No such command"),
        (["classify-pixels"], 2, "Missing argument"),
        (["info", "missing.tif"], 1, "there is no file or folder at missing.tif"),
        (["demo", "--raster", "a.tif"], 1, "--raster and --labels go together"),
    ],
)
def test_wrong_words_and_wrong_values_end_differently(
    words: list[str], code: int, message: str, plain: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TooManyFailures("3 of 9 cells failed"), 3),
        (RunInterrupted("call again"), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_unfinished_runs_have_exit_codes_of_their_own(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command_line, "app", ends)
    assert run([]) == code


def test_a_raster_is_classified_and_described_from_the_command_line(
    plain: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = save_package(random_model(), tmp_path / "unet", compute_metrics=False)
    scene = write_raster(tmp_path / "scene.tif", height=100, width=120)
    words = ["classify-pixels", str(scene), str(package), "-o", str(tmp_path / "out.tif"), "-w", "0", "-q"]
    assert run([*words, "--padding", "16"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as source:
        assert [c["name"] for c in json.loads(source.tags()["CLASSES"])] == ["Field", "Water", "Road"]
    assert run(words) == 1
    assert "pass --overwrite" in capsys.readouterr().err

    assert run([*words, "--overwrite", "--estimate"]) == 0
    assert "memory" in capsys.readouterr().out
    assert run(["info", str(scene)]) == 0
    assert "120 x 100 pixels" in capsys.readouterr().out
    assert run(["info", str(package)]) == 0
    assert "7 Road" in capsys.readouterr().out


def test_chips_become_a_model_from_the_command_line(
    plain: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.labels import square_labels

    scene = write_raster(tmp_path / "scene.tif", height=256, width=256)
    square_labels(height=256, width=256).to_file(tmp_path / "labels.gpkg")
    chips = tmp_path / "chips.zarr"
    words = ["export-training-data", str(scene), str(tmp_path / "labels.gpkg"), "-o", str(chips)]
    assert run([*words, "--tile-size", "64", "-w", "0", "-q"]) == 0
    assert run(["info", str(chips)]) == 0
    assert "chip size" in capsys.readouterr().out
    model = tmp_path / "model.dlpk"
    learn = ["train", str(chips), "-o", str(model), "--no-pretrained", "--backbone", "resnet18"]
    assert run([*learn, "--epochs", "1", "--lr", "0.001", "--batch-size", "2", "--chip-size", "64"]) == 0
    assert model.exists()
    assert run(learn) == 1


def test_a_warning_is_one_sentence_without_a_line_of_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warns(*_: object, **__: object) -> None:
        warnings.warn("the cells are larger than those of training.", stacklevel=1)

    monkeypatch.setattr(command_line, "app", warns)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    warnings.simplefilter("always")
    with pytest.raises(SystemExit):
        command_line.main([])
    assert capsys.readouterr().err == "note: the cells are larger than those of training.\n"
