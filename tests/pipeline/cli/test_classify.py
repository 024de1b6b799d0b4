"""``rasterloom classify-pixels``: which words become which arguments, and what is said to wrong ones."""

import json
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio

from rasterloom.pipeline.cli import classify_options
from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.inference import arguments, devices, pixels
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import write_raster

SIGNATURE = signature(pixels.classify_pixels)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are only there to be named."""
    monkeypatch.chdir(tmp_path)
    for name in ("scene.tif", "model.dlpk", "county.gpkg", "lattice.tif"):
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    return tmp_path


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What classify_pixels was called with, by the names of its parameters."""
    given: dict[str, Any] = {}

    def note(*values: Any, **named: Any) -> Any:
        bound = SIGNATURE.bind(*values, **named)
        assert "kwargs" not in bound.arguments, "an argument that classify_pixels does not have"
        given.update(bound.arguments)
        if named["estimate"]:
            return SimpleNamespace(
                chips=1200, pixels=10**9, batches=7, bytes_read=4 * 10**9, bytes_written=10**9,
                peak_memory=1_250_000_000, seconds=5400.0,
            )  # fmt: skip
        return ["maps/a.tif", "maps/b.tif"] if given["process_all_raster_items"] else "out.tif"

    monkeypatch.setattr(pixels, "classify_pixels", note)
    return given


def classified(*words: str) -> int:
    return run(["classify-pixels", "scene.tif", "model.dlpk", "-w", "0", *words])


def test_what_is_not_said_is_left_to_the_model(place: Path, called: dict[str, Any]) -> None:
    assert classified() == 0
    assert called["input_raster"] == "scene.tif"
    assert called["model"] == "model.dlpk"
    assert (called["model_arguments"], called["context"], called["output_name"]) == ({}, {}, None)
    for name in set(called) - {"input_raster", "model", "model_arguments", "context", "output_name"}:
        assert called[name] == SIGNATURE.parameters[name].default, name


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--tile-size", "512"], {"tile_size": 512}),
        (["--padding", "0"], {"padding": 0}),
        (["--batch-size", "8"], {"batch_size": 8}),
        (["--no-background"], {"predict_background": False}),
        (["--tta", "--merge-policy", "max"], {"test_time_augmentation": True, "merge_policy": "max"}),
        (["--threshold", "0"], {"threshold": 0.0}),
        (["--probabilities"], {"return_probability_raster": True}),
        (["--thinning"], {"thinning": True}),
        (["--no-thinning"], {"thinning": False}),
    ],
)
def test_words_about_the_network_become_model_arguments(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert classified(*words) == 0
    assert called["model_arguments"] == given
    assert all(type(value) in (int, float, bool, str) for value in called["model_arguments"].values())


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--cell-size", "0.5"], {"cellSize": 0.5}),
        (["--out-crs", "EPSG:32633"], {"outSR": "EPSG:32633"}),
        (["--extent", "0", "-1", "20", "30.5"], {"extent": (0.0, -1.0, 20.0, 30.5)}),
        (["--mask", "county.gpkg"], {"mask": "county.gpkg"}),
        (["--mask", "s3://bucket/mask.tif"], {"mask": "s3://bucket/mask.tif"}),
        (["--snap-raster", "lattice.tif"], {"snapRaster": "lattice.tif"}),
        (["--cores", "80%"], {"parallelProcessingFactor": "80%"}),
        (["--processor", "cpu"], {"processorType": "CPU"}),
    ],
)
def test_words_about_the_ground_and_the_machine_become_the_context(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert classified(*words) == 0
    assert called["context"] == given


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["--blend", "gaussian"], {"blend": "gaussian"}),
        (["--probability-type", "float32"], {"probability_type": "float32"}),
        (["--task-size", "512"], {"cell_size": 512}),
        (["--max-failed", "0.5", "--retry-failed"], {"max_failed": 0.5, "retry_failed": True}),
        (["--max-cog-size", "100"], {"max_cog_size": 100}),
        (["--precision", "bfloat16", "--compile"], {"precision": "bfloat16", "compiled": True}),
        (["--performance-report", "page.html"], {"performance_report": Path("page.html")}),
        (["-q", "--overwrite"], {"progress": False, "overwrite": True}),
        (["-o", "s3://bucket/maps/classes.tif"], {"output_name": "s3://bucket/maps/classes.tif"}),
    ],
)
def test_the_other_words_become_arguments_of_their_own(
    words: list[str], given: dict[str, Any], place: Path, called: dict[str, Any]
) -> None:
    assert classified(*words) == 0
    assert {name: called[name] for name in given} == given
    assert {type(called[name]) for name in given} == {type(value) for value in given.values()}


def test_each_file_of_a_folder_has_a_line_of_its_own(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["classify-pixels", "photos", "model.dlpk", "-w", "0", "--each", "-o", "maps"]) == 0
    assert (called["process_all_raster_items"], called["output_name"]) == (True, "maps")
    told = capsys.readouterr()
    assert told.out.split() == ["maps/a.tif", "maps/b.tif"]
    assert told.err.strip() == "next: rasterloom info maps/b.tif"


def test_an_address_reaches_the_tool_as_it_was_written(place: Path, called: dict[str, Any]) -> None:
    address = "https://example.org/scene.tif?token=abc"
    model = "s3://bucket/model.dlpk"
    assert run(["classify-pixels", address, model, "-w", "0", "-o", "out.tif"]) == 0
    assert (called["input_raster"], called["model"]) == (address, model)


def test_an_estimate_is_told_in_units_of_people(
    place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert classified("--estimate") == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["tiles"] == "1,200"
    assert told["memory"].startswith("1.25 GB")
    assert told["time"].startswith("1 h 30 min")


def test_assets_of_a_stac_item_are_read_in_the_order_they_are_named(
    tmp_path: Path, called: dict[str, Any]
) -> None:
    for name, seed in (("red", 0), ("nir", 1)):
        write_raster(tmp_path / f"{name}.tif", height=40, width=60, bands=1, seed=seed)
    assets = {name: {"href": f"./{name}.tif", "roles": ["data"]} for name in ("red", "nir")}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "a", "properties": {}, "assets": assets}
    (tmp_path / "item.json").write_text(json.dumps(item))
    (tmp_path / "model.dlpk").touch()
    words = ["classify-pixels", str(tmp_path / "item.json"), str(tmp_path / "model.dlpk"), "-w", "0"]
    assert run([*words, "-o", "out.tif", "--assets", "nir, red"]) == 0
    assert called["input_raster"].band_count == 2
    assert called["input_raster"].grid.shape == (40, 60)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.tif", "model.dlpk"], "there is no raster at nothing.tif"),
        (["scene.tif", "nothing.dlpk"], "there is no model at nothing.dlpk"),
        (["scene.tif", "model.dlpk", "--mask", "no.gpkg"], "there is no mask at no.gpkg"),
        (["scene.tif", "model.dlpk", "--snap-raster", "no.tif"], "there is no raster to snap to at no.tif"),
        (["n" * 300, "model.dlpk"], "there is no raster at nnn"),
        (["https://example.org/a.tif?token=abc", "model.dlpk"], "--output is missing"),
        (["scene.tif", "model.dlpk", "--resampling", "cubic"], "--output is missing: with --resampling"),
        (["photos", "model.dlpk", "--each", "--resampling", "cubic"], "--each keeps them apart"),
        (["photos", "model.dlpk", "--each", "--estimate"], "--estimate prices one raster"),
    ],
)
def test_what_cannot_work_is_said_before_a_cluster_is_started(
    words: list[str],
    message: str,
    place: Path,
    called: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rasterloom.cluster.start.connect", None)
    assert run(["classify-pixels", *words]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1
    assert "token" not in told
    assert not called


@pytest.mark.parametrize("word", ["--blend", "--merge-policy", "--precision", "--processor"])
def test_a_word_that_is_no_choice_is_a_wrong_word(
    word: str, place: Path, called: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert classified(word, "purple") == 2
    assert "purple" in capsys.readouterr().err
    assert not called


def test_the_choices_are_those_of_the_tool() -> None:
    assert tuple(classify_options.Blend) == arguments.BLENDS
    assert tuple(classify_options.MergePolicy) == arguments.MERGE_POLICIES
    assert tuple(classify_options.ProbabilityType) == arguments.PROBABILITY_TYPES
    assert tuple(classify_options.Precision) == devices.PRECISIONS


def test_every_argument_of_the_tool_can_be_said(place: Path, called: dict[str, Any]) -> None:
    assert classified() == 0
    of_python_only = {"gis", "future", "kwargs"}
    assert set(called) == set(SIGNATURE.parameters) - of_python_only


def test_probabilities_of_a_part_are_written_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = save_package(random_model(), tmp_path / "unet", compute_metrics=False)
    scene = write_raster(tmp_path / "scene.tif", height=100, width=120)
    words = ["classify-pixels", str(scene), str(package), "-w", "0", "-q", "--probabilities", "--cores", "1"]
    words += ["--extent", "500000", "4999936", "500064", "5000000", "--blend", "linear", "--task-size", "64"]
    assert run([*words, "-o", str(tmp_path / "shares.tif")]) == 0
    assert capsys.readouterr().err == ""
    with rasterio.open(tmp_path / "shares.tif") as source:
        assert (source.count, source.shape) == (4, (64, 64))
        assert np.abs(source.read().sum(axis=0, dtype=int) - 254).max() <= 4


def test_a_network_of_another_author_runs_only_with_trust(place: Path, called: dict[str, Any]) -> None:
    assert classified() == 0
    assert called["trust"] is False
    assert classified("--trust") == 0
    assert called["trust"] is True


def test_an_installed_model_is_used_by_its_name(
    place: Path, called: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RASTERLOOM_REGISTRY", str(place / "registry"))
    assert run(["classify-pixels", "scene.tif", "crops", "-w", "0"]) == 1
    assert "there is no model at crops" in capsys.readouterr().err
    (place / "registry").mkdir()
    (place / "registry" / "crops.dlpk").touch()
    assert run(["classify-pixels", "scene.tif", "crops", "-w", "0"]) == 0
    assert called["model"] == "crops"
