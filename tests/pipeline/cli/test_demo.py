"""``rasterloom demo`` hands its words on, and says in one line what came of it when it is to be quiet."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rasterloom.pipeline.cli.main import run


def test_a_quiet_demo_still_says_where_its_report_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def runs(folder: Path, **settings: Any) -> Any:
        asked.update(settings, folder=folder)
        return SimpleNamespace(report=folder / "report.html", mean_iou=0.8765)

    monkeypatch.setattr("rasterloom.pipeline.demo.run.run_demo", runs)
    assert run(["demo", "-q", "--size", "600", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == f"{tmp_path / 'report.html'}  mean IoU 0.876"
    assert (asked["size"], asked["progress"], asked["raster"]) == (600, False, None)
