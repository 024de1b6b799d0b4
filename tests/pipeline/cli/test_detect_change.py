"""``rasterloom detect-change``: which words become which arguments, and a map from beginning to end."""

from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rasterio

from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.cli.train import _next
from rasterloom.pipeline.inference.change import detect
from tests.support.dates import rule_model
from tests.support.rasters import write_raster

SIGNATURE = signature(detect.detect_change_using_deep_learning)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are only there to be named."""
    monkeypatch.chdir(tmp_path)
    for name in ("2019.tif", "2024.tif", "model.dlpk", "county.gpkg", "snap.tif"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the tool was called with, by the names of its parameters."""
    given: dict[str, Any] = {}

    def note(*values: Any, **named: Any) -> Any:
        bound = SIGNATURE.bind(*values, **named)
        assert "kwargs" not in bound.arguments, "an argument that the tool does not have"
        given.update(bound.arguments)
        if named["estimate"]:
            return SimpleNamespace(
                chips=1200, pixels=10**9, batches=7, bytes_read=4 * 10**9, bytes_written=10**9,
                peak_memory=1_250_000_000, seconds=5400.0,
            )  # fmt: skip
        return "change.tif"

    monkeypatch.setattr(detect, "detect_change_using_deep_learning", note)
    return given


def compared(*words: str) -> int:
    return run(["detect-change", "2019.tif", "2024.tif", "model.dlpk", "-w", "0", *words])


def test_what_is_not_said_is_left_to_the_tool(place: Path, called: dict[str, Any]) -> None:
    assert compared() == 0
    named = ("from_raster", "to_raster", "model", "output_classified_raster", "model_arguments", "context")
    assert [called[name] for name in named] == ["2019.tif", "2024.tif", "model.dlpk", None, {}, {}]
    for name in set(called) - set(named):
        assert called[name] == SIGNATURE.parameters[name].default, name


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--tile-size", "512"], {"tile_size": 512}),
        (["--padding", "0"], {"padding": 0}),
        (["--batch-size", "8"], {"batch_size": 8}),
        (["--threshold", "0"], {"threshold": 0.0}),
        (["--whole"], {"crop_predict": False}),
        (["--probabilities"], {"return_probability_raster": True}),
        (["--tta", "--merge-policy", "min"], {"test_time_augmentation": True, "merge_policy": "min"}),
    ],
)
def test_words_about_the_network_become_model_arguments(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert compared(*words) == 0
    assert called["model_arguments"] == given
    assert all(type(value) in (int, float, bool, str) for value in called["model_arguments"].values())


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--resampling", "cubic"], {"resampling": "cubic"}),
        (["--polygons", "changed.parquet"], {"output_polygons": "changed.parquet"}),
        (["--task-size", "512", "--blend", "linear"], {"cell_size": 512, "blend": "linear"}),
        (["--mask", "county.gpkg"], {"context": {"mask": "county.gpkg"}}),
        (
            ["--snap-raster", "snap.tif", "--cell-size", "2"],
            {"context": {"snapRaster": "snap.tif", "cellSize": 2.0}},
        ),
        (["--max-failed", "0.5", "--retry-failed"], {"max_failed": 0.5, "retry_failed": True}),
        (["--precision", "bfloat16", "--trust"], {"precision": "bfloat16", "trust": True}),
        (["-q", "--overwrite"], {"progress": False, "overwrite": True}),
        (["-o", "s3://bucket/change.tif"], {"output_classified_raster": "s3://bucket/change.tif"}),
    ],
)
def test_the_other_words_become_arguments_of_their_own(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert compared(*words) == 0
    assert {name: called[name] for name in given} == given


def test_an_estimate_says_what_it_would_take(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared("--estimate") == 0
    assert "1,200" in capsys.readouterr().out


def test_a_date_that_is_not_there_is_named_at_once(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["detect-change", "2019.tif", "2030.tif", "model.dlpk"]) == 1
    assert "no raster at 2030.tif" in capsys.readouterr().err
    assert not called


def test_training_leads_to_this_command() -> None:
    assert _next("CHANGEDETECTOR", "m.dlpk") == "rasterloom detect-change FROM TO m.dlpk -o change.tif"


def test_a_package_finds_what_has_changed_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_raster(tmp_path / "2019.tif", height=60, width=80)
    second = write_raster(tmp_path / "2024.tif", height=60, width=80, seed=3)
    package = rule_model().save(tmp_path / "rule", pickled=True)
    words = ["detect-change", str(first), str(second), str(package), "--trust", "-w", "0"]
    assert run(words) == 0
    told = capsys.readouterr()
    assert told.out.split() == [str(tmp_path / "2019_change.tif")]
    assert "next: rasterloom info" in told.err
    with rasterio.open(tmp_path / "2019_change.tif") as found:
        assert 0 < (found.read(1) == 1).mean() < 1
    assert run(words) == 1
    assert "--overwrite" in capsys.readouterr().err
