"""``rasterloom polygonize`` does what the tool does, by words."""

from pathlib import Path

import geopandas
import numpy as np
import pytest

from rasterloom.pipeline.cli.main import run
from tests.support.rasters import write_pixels


def test_the_command_writes_polygons_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.zeros((1, 20, 20), np.uint8)
    pixels[0, 2:8, 2:8], pixels[0, 10:12, 10:12], pixels[0, 12, 12] = 3, 3, 3
    path = str(write_pixels(tmp_path / "map.tif", pixels))
    words = ["polygonize", path, "-o", str(tmp_path / "areas.gpkg"), "-w", "0", "-q"]
    assert run([*words, "--classes", "3", "--corners", "--minimum-area", "5", "--task-size", "11"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "areas.gpkg")
    layer = geopandas.read_file(tmp_path / "areas.gpkg")
    assert sorted(layer["Area"]) == [5, 36]
    assert run(words) == 1
    assert "exists" in capsys.readouterr().err


def test_words_that_are_no_classes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_pixels(tmp_path / "map.tif", np.ones((1, 4, 4), np.uint8)))
    assert run(["polygonize", path, "--classes", "wood", "-w", "0", "-q"]) == 1
    assert "whole numbers" in capsys.readouterr().err
    assert run(["polygonize", "none.tif"]) == 1
    assert "there is no raster at none.tif" in capsys.readouterr().err
