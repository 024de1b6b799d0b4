"""``rasterloom classify-objects``: which words become which arguments, and a layer from beginning to end."""

from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import pytest

from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.inference.scenes import classify
from tests.support.rasters import write_pixels
from tests.support.shades import scattered, shade_model, shaded

SIGNATURE = signature(classify.classify_objects)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are only there to be named."""
    monkeypatch.chdir(tmp_path)
    for name in ("scene.tif", "model.dlpk", "county.gpkg", "roofs.gpkg"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What classify_objects was called with, by the names of its parameters."""
    given: dict[str, Any] = {}

    def note(*values: Any, **named: Any) -> Any:
        bound = SIGNATURE.bind(*values, **named)
        assert "kwargs" not in bound.arguments, "an argument that classify_objects does not have"
        given.update(bound.arguments)
        if named["estimate"]:
            return SimpleNamespace(
                chips=1200, pixels=10**9, batches=7, bytes_read=4 * 10**9, bytes_written=0,
                peak_memory=1_250_000_000, seconds=5400.0,
            )  # fmt: skip
        return ["a.parquet", "b.parquet"] if given["process_all_raster_items"] else "out.parquet"

    monkeypatch.setattr(classify, "classify_objects", note)
    return given


def classified(*words: str) -> int:
    return run(["classify-objects", "scene.tif", "model.dlpk", "-w", "0", *words])


def test_what_is_not_said_is_left_to_the_tool(place: Path, called: dict[str, Any]) -> None:
    assert classified() == 0
    assert (called["input_raster"], called["model"]) == ("scene.tif", "model.dlpk")
    assert (called["model_arguments"], called["context"], called["output_name"]) == ({}, {}, None)
    for name in set(called) - {"input_raster", "model", "model_arguments", "context", "output_name"}:
        assert called[name] == SIGNATURE.parameters[name].default, name


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--batch-size", "8"], {"batch_size": 8}),
        (["--score-threshold", "0.4"], {"score_threshold": 0.4}),
        (["--tta", "--merge-policy", "max"], {"test_time_augmentation": True, "merge_policy": "max"}),
        (["--tile-size", "64"], {"tile_size": 64}),
        (["--crop-to-feature", "--blacken"], {"fix_chip_size": False, "blacken_around_feature": True}),
        (["--fix-chip-size", "--no-blacken"], {"fix_chip_size": True, "blacken_around_feature": False}),
    ],
)
def test_words_about_the_model_become_model_arguments(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert classified(*words) == 0
    assert called["model_arguments"] == given


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["-f", "roofs.gpkg"], {"input_features": "roofs.gpkg"}),
        (["--label-field", "kind"], {"class_label_field": "kind"}),
        (["-o", "o.gpkg", "--overwrite"], {"output_name": "o.gpkg", "overwrite": True}),
        (["--mask", "county.gpkg"], {"context": {"mask": "county.gpkg"}}),
        (["--extent", "1", "2", "3", "4"], {"context": {"extent": (1.0, 2.0, 3.0, 4.0)}}),
        (
            ["--cell-size", "2", "--out-crs", "EPSG:3857"],
            {"context": {"cellSize": 2.0, "outSR": "EPSG:3857"}},
        ),
        (["--cores", "80%"], {"context": {"parallelProcessingFactor": "80%"}}),
        (["--task-size", "4096"], {"cell_size": 4096}),
        (["--max-failed", "0.2", "--retry-failed"], {"max_failed": 0.2, "retry_failed": True}),
        (["--precision", "bfloat16", "--trust"], {"precision": "bfloat16", "trust": True}),
    ],
)
def test_words_about_the_run_become_arguments(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert classified(*words) == 0
    assert {name: called[name] for name in given} == given


def test_results_are_printed_a_line_for_each(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert classified("-q") == 0
    assert capsys.readouterr().out == "out.parquet\n"
    assert classified("--each", "-o", "out", "-q") == 0
    assert capsys.readouterr().out == "a.parquet\nb.parquet\n"
    assert classified("--estimate", "-f", "roofs.gpkg") == 0
    assert "1,200" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["-f", "missing.gpkg"], ["--mask", "missing.gpkg"]])
def test_files_that_are_not_there_are_named_at_once(
    words: list[str], place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert classified(*words) == 1
    assert "missing.gpkg" in capsys.readouterr().err
    assert called == {}


@pytest.mark.filterwarnings("ignore:of the 40 features:UserWarning")
def test_a_layer_is_labelled_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pixels(tmp_path / "scene.tif", shaded(30, 40))
    scattered(40, (240, 320)).to_file(tmp_path / "things.gpkg")
    shade_model().save(tmp_path / "model")
    words = ["-f", "things.gpkg", "-o", "labels.parquet", "--label-field", "shade", "--trust", "-q"]
    assert classified(*words) == 0
    found = geopandas.read_parquet("labels.parquet")
    assert len(found) == 40
    assert set(found["shade"].dropna()) <= {"dark", "grey", "bright"}
