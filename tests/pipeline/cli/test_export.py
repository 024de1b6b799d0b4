"""``rasterloom export-training-data`` hands its words on as they were written."""

from pathlib import Path
from typing import Any

import pytest

from rasterloom.pipeline.cli.main import run


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    given: dict[str, Any] = {}

    def note(raster: Any, labels: Any, **named: Any) -> str:
        given.update(named, raster=raster, labels=labels)
        return "chips.zarr"

    monkeypatch.chdir(tmp_path)
    Path("labels.gpkg").touch()
    monkeypatch.setattr("rasterloom.pipeline.chips.export.export_training_data", note)
    return given


def test_an_address_keeps_its_slashes(called: dict[str, Any]) -> None:
    words = ["export-training-data", "https://example.org/scene.tif", "labels.gpkg", "-w", "0"]
    assert run([*words, "-o", "chips.zarr"]) == 0
    assert (called["raster"], called["output_location"]) == ("https://example.org/scene.tif", "chips.zarr")


def test_every_option_reaches_its_argument(called: dict[str, Any]) -> None:
    Path("scene.tif").touch()
    words = ["export-training-data", "scene.tif", "labels.gpkg", "-w", "0", "-o", "out", "-q"]
    options = {
        "--chip-format png": ("chip_format", "PNG"),
        "--metadata-format YOLO": ("metadata_format", "YOLO"),
        "--overwrite": ("overwrite", True),
        "--reference-system IMAGE_SPACE": ("reference_system", "IMAGE_SPACE"),
        "--each": ("process_all_raster_items", True),
        "--additional-raster scene.tif": ("additional_input_raster", "scene.tif"),
        "--instances labels.gpkg": ("input_instance_data", "labels.gpkg"),
        "--tile-size 64": ("tile_size", 64),
        "--stride 32": ("stride_size", 32),
        "--rotation-angle 45": ("rotation_angle", 45.0),
        "--crop-to-feature": ("fix_chip_size", False),
        "--split 80/20": ("split", "80/20"),
        "--split-block 512": ("split_block_size", 512),
        "--seed 7": ("seed", 7),
        "--class-field kind": ("classvalue_field", "kind"),
        "--instance-field kind": ("instance_class_value_field", "kind"),
        "--buffer-radius 2.5": ("buffer_radius", 2.5),
        "--min-overlap 0.3": ("min_polygon_overlap_ratio", 0.3),
        "--blacken": ("blacken_around_feature", True),
        "--mask labels.gpkg": ("input_mask_polygons", "labels.gpkg"),
    }
    assert run([*words, *" ".join(options).split(), "--all-tiles", "--start-index", "9"]) == 0
    assert {name: called[name] for name, _ in options.values()} == dict(options.values())
    assert called["context"] == {"exportAllTiles": True, "startIndex": 9}


def test_labels_may_be_left_out(called: dict[str, Any]) -> None:
    assert run(["export-training-data", "labels.gpkg", "-w", "0"]) == 0
    assert called["labels"] is None
    assert called["metadata_format"] is None


def test_an_estimate_is_printed_line_by_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rasterloom.pipeline.chips.estimate import ExportEstimate

    def priced(*_: Any, **named: Any) -> ExportEstimate:
        assert named["estimate"]
        return ExportEstimate(1234, 10**8, 3 * 10**8, 4 * 10**8, 5, 600 * 10**6, 7.25)

    (tmp_path / "scene.tif").touch()
    monkeypatch.setattr("rasterloom.pipeline.chips.export.export_training_data", priced)
    assert run(["export-training-data", str(tmp_path / "scene.tif"), "-w", "0", "--estimate"]) == 0
    printed = capsys.readouterr().out
    for words in ("1,234", "400 MB before compression", "600 MB for each process", "7.2 s"):
        assert words in printed


def test_convert_hands_its_words_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}

    def note(chips: Any, output: Any, **named: Any) -> str:
        given.update(named, chips=chips, output=output)
        return str(output)

    monkeypatch.setattr("rasterloom.pipeline.chips.convert.convert", note)
    words = ["convert", str(tmp_path), "coco", "--metadata-format", "coco", "--chip-format", "PNG", "-w", "0"]
    assert run([*words, "--overwrite"]) == 0
    assert (given["chips"], given["output"]) == (tmp_path, Path("coco"))
    assert (given["metadata_format"], given["chip_format"]) == ("COCO", "PNG")
    assert given["overwrite"]
    assert run(["convert", str(tmp_path / "nowhere"), "coco", "-w", "0"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["https://example.org/scene.tif", "labels.gpkg"], "--output is missing"),
        (["nothing.tif", "labels.gpkg"], "there is no raster at nothing.tif"),
        (["labels.gpkg", "nothing.gpkg"], "there is no file of labels at nothing.gpkg"),
        (["labels.gpkg", "labels.gpkg", "--mask", "no.gpkg"], "there is no mask at no.gpkg"),
    ],
)
def test_what_cannot_work_is_said_before_a_cluster_is_started(
    words: list[str],
    message: str,
    called: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rasterloom.cluster.start.connect", None)
    assert run(["export-training-data", *words]) == 1
    assert message in capsys.readouterr().err
    assert not called
