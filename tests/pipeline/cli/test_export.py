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
