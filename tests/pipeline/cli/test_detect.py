"""``rasterloom detect-objects``: which words become which arguments, and a layer from beginning to end."""

from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import pytest

from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.inference.objects import detect
from tests.support.detectors import colour_model, found_boxes, painted, write_scene

SIGNATURE = signature(detect.detect_objects)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are only there to be named."""
    monkeypatch.chdir(tmp_path)
    for name in ("scene.tif", "model.dlpk", "county.gpkg"):
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    return tmp_path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What detect_objects was called with, by the names of its parameters."""
    given: dict[str, Any] = {}

    def note(*values: Any, **named: Any) -> Any:
        bound = SIGNATURE.bind(*values, **named)
        assert "kwargs" not in bound.arguments, "an argument that detect_objects does not have"
        given.update(bound.arguments)
        if named["estimate"]:
            return SimpleNamespace(
                chips=1200, pixels=10**9, batches=7, bytes_read=4 * 10**9, bytes_written=0,
                peak_memory=1_250_000_000, seconds=5400.0,
            )  # fmt: skip
        return ["found/a.parquet", "found/b.parquet"] if given["process_all_raster_items"] else "out.parquet"

    monkeypatch.setattr(detect, "detect_objects", note)
    return given


def detected(*words: str) -> int:
    return run(["detect-objects", "scene.tif", "model.dlpk", "-w", "0", *words])


def test_what_is_not_said_is_left_to_the_tool(place: Path, called: dict[str, Any]) -> None:
    assert detected() == 0
    assert (called["input_raster"], called["model"]) == ("scene.tif", "model.dlpk")
    assert (called["model_arguments"], called["context"], called["output_name"]) == ({}, {}, None)
    for name in set(called) - {"input_raster", "model", "model_arguments", "context", "output_name"}:
        assert called[name] == SIGNATURE.parameters[name].default, name


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--tile-size", "512"], {"tile_size": 512}),
        (["--padding", "0"], {"padding": 0}),
        (["--batch-size", "8"], {"batch_size": 8}),
        (["--threshold", "0"], {"threshold": 0.0}),
        (["--nms-overlap", "0.4"], {"nms_overlap": 0.4}),
        (["--keep-pad-detections"], {"exclude_pad_detections": False}),
        (["--tta", "--merge-policy", "min"], {"test_time_augmentation": True, "merge_policy": "min"}),
    ],
)
def test_words_about_the_network_become_model_arguments(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert detected(*words) == 0
    assert called["model_arguments"] == given
    assert all(type(value) in (int, float, bool, str) for value in called["model_arguments"].values())


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--nms", "--max-overlap", "0.3"], {"run_nms": True, "max_overlap_ratio": 0.3}),
        (["--task-size", "512"], {"cell_size": 512}),
        (["--mask", "county.gpkg"], {"context": {"mask": "county.gpkg"}}),
        (["--max-failed", "0.5", "--retry-failed"], {"max_failed": 0.5, "retry_failed": True}),
        (["--precision", "bfloat16", "--trust"], {"precision": "bfloat16", "trust": True}),
        (["-q", "--overwrite"], {"progress": False, "overwrite": True}),
        (["-o", "s3://bucket/found.gpkg"], {"output_name": "s3://bucket/found.gpkg"}),
    ],
)
def test_the_other_words_become_arguments_of_their_own(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert detected(*words) == 0
    assert {name: called[name] for name in given} == given


def test_each_file_of_a_folder_has_a_line_of_its_own(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["detect-objects", "photos", "model.dlpk", "-w", "0", "--each", "-o", "found"]) == 0
    told = capsys.readouterr()
    assert told.out.split() == ["found/a.parquet", "found/b.parquet"]
    assert told.err.strip() == "next: rasterloom accuracy found/b.parquet TRUTH"


def test_an_estimate_is_silent_about_what_nobody_knows(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert detected("--estimate") == 0
    told = capsys.readouterr().out
    assert "1,200" in told
    assert "writes" not in told


def test_a_folder_cannot_be_one_raster_and_many(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["detect-objects", "photos", "model.dlpk", "--each", "--estimate"]) == 1
    assert "--estimate prices one raster" in capsys.readouterr().err
    assert not called


def test_a_package_finds_what_is_there_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [(3, 4, 12, 20), (28, 28, 36, 36), (60, 5, 64, 9)]
    scene = write_scene(tmp_path / "scene.tif", painted((50, 70), boxes))
    package = colour_model().save(tmp_path / "colours", pickled=True)
    output = tmp_path / "found.geojson"
    words = ["detect-objects", str(scene), str(package), "-o", str(output), "--trust", "--padding", "8"]
    assert run([*words, "-w", "0", "-q"]) == 0
    assert capsys.readouterr().out.split() == [str(output)]
    found = geopandas.read_file(output).to_crs("EPSG:32633")
    assert sorted(found_boxes(found)) == sorted(boxes)
