"""``rasterloom accuracy`` prints the figures and says what it wrote."""

from pathlib import Path

import geopandas
import pytest
import shapely

from rasterloom.pipeline.cli.main import run


def _write(folder: Path) -> tuple[str, str]:
    boxes = [shapely.box(10 * step, 0, 10 * step + 5, 5) for step in range(4)]
    truth = geopandas.GeoDataFrame({"kind": ["a", "a", "b", "b"]}, geometry=boxes, crs=32633)
    truth.to_file(folder / "truth.gpkg")
    found = truth.iloc[:3].assign(sure=[0.9, 0.8, 0.7])
    found.to_parquet(folder / "found.parquet")
    return str(folder / "found.parquet"), str(folder / "truth.gpkg")


def test_the_figures_are_printed_and_the_files_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, truth = _write(tmp_path)
    fields = ["--detected-field", "kind", "--truth-field", "kind", "--confidence-field", "sure"]
    assert run(["accuracy", found, truth, "--report", str(tmp_path / "r.html"), *fields]) == 0
    told = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in told if line.split()}
    assert rows["a"] == ["1.000", "1.000", "1.000", "1.000", "1.000", "2", "0", "0"]
    assert rows["b"][:3] == ["1.000", "0.500", "0.667"]
    assert rows["All"][1:3] == ["1.000", "0.750"]
    written = ["found_accuracy.csv", "found_accuracy_objects.parquet", "r.html"]
    assert [Path(line).name for line in told[-3:]] == written
    assert all((tmp_path / name).exists() for name in written)


def test_what_stands_there_is_replaced_only_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, truth = _write(tmp_path)
    assert run(["accuracy", found, truth]) == 0
    assert run(["accuracy", found, truth]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(["accuracy", found, truth, "--overwrite"]) == 0


def test_a_mask_and_an_extent_limit_the_ground(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = _write(tmp_path)
    geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 26, 9)], crs=32633).to_file(tmp_path / "m.fgb")
    words = [
        "--mask",
        str(tmp_path / "m.fgb"),
        "--extent",
        "9",
        "0",
        "60",
        "9",
        "-o",
        str(tmp_path / "t.csv"),
    ]
    assert run(["accuracy", found, truth, "--min-iou", "0.9", "--outlines", *words]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "object" in line and "." in line)
    assert row.split()[-3:] == ["2", "0", "0"]


def test_a_layer_that_is_not_there_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = _write(tmp_path)
    assert run(["accuracy", found, str(tmp_path / "gone.gpkg")]) == 1
    assert "there is no ground truth at" in capsys.readouterr().err
