"""``rasterloom demo`` hands its words on, and says in one line what came of it when it is to be quiet."""

from collections.abc import Iterator
from contextlib import contextmanager
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


def test_a_cluster_elsewhere_does_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    @contextmanager
    def joined(target: str, *, n_workers: int | None) -> Iterator[Any]:
        yield SimpleNamespace(dashboard_link="", target=target, n_workers=n_workers)

    def runs(folder: Path, **settings: Any) -> Any:
        asked.update(settings)
        return SimpleNamespace(report=folder / "report.html", mean_iou=0.5)

    monkeypatch.setattr("rasterloom.cluster.start.connect", joined)
    monkeypatch.setattr("rasterloom.pipeline.demo.run.run_demo", runs)
    assert run(["demo", "-q", "--folder", str(tmp_path), "--cluster", "tls://there:8786", "-w", "3"]) == 0
    assert (asked["client"].target, asked["client"].n_workers) == ("tls://there:8786", 3)
    assert run(["demo", "-q", "--folder", str(tmp_path)]) == 0
    assert asked["client"] is None
