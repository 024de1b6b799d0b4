"""``rasterloom suppress`` does what the tool does, by words."""

from pathlib import Path

import geopandas
import pytest
import shapely

from rasterloom.pipeline.cli.main import run


def test_the_command_writes_what_is_kept_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = [shapely.box(0, 0, 4, 4), shapely.box(0, 0, 4, 3), shapely.box(3, 3, 7, 7)]
    columns = {"score": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"]}
    geopandas.GeoDataFrame(columns, geometry=boxes, crs=32645).to_parquet(tmp_path / "found.parquet")
    found, kept = str(tmp_path / "found.parquet"), str(tmp_path / "kept.gpkg")
    words = ["suppress", found, "-o", kept, "--score-field", "score", "--max-overlap", "0.3", "-q"]
    assert run([*words, "--class-field", "kind"]) == 0
    assert capsys.readouterr().out.strip() == kept
    assert len(geopandas.read_file(kept)) == 3
    assert run([*words, "--overwrite"]) == 0
    assert sorted(geopandas.read_file(kept)["score"]) == [2, 3]
    assert run(words) == 1
    assert "exists" in capsys.readouterr().err


def test_a_layer_that_is_not_there_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["suppress", "none.parquet"]) == 1
    assert "there is no layer at none.parquet" in capsys.readouterr().err
