"""``rasterloom extract-lines`` does what the tool does, by words."""

from pathlib import Path

import geopandas
import numpy as np
import pytest

from rasterloom.pipeline.cli.main import run
from tests.support.rasters import write_pixels


def test_the_command_writes_the_network_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = np.zeros((1, 40, 60), "uint8")
    classes[0, 20, 5:55] = 2
    classes[0, 16:20, 30] = 3
    raster = str(write_pixels(tmp_path / "classes.tif", classes))
    lines = str(tmp_path / "lines.gpkg")
    words = [
        "extract-lines",
        raster,
        "-o",
        lines,
        "--class-value",
        "2",
        "--class-value",
        "3",
        "-q",
        "-w",
        "0",
    ]
    assert run([*words, "--task-size", "16", "--simplify", "0"]) == 0
    assert capsys.readouterr().out.strip() == lines
    assert len(geopandas.read_file(lines)) == 3
    assert run([*words, "--overwrite", "--minimum-length", "10"]) == 0
    assert geopandas.read_file(lines)["Length"].tolist() == [49]
    assert run(words) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(["extract-lines", raster, "-w", "0", "-q"]) == 1
    assert "class_value" in capsys.readouterr().err


def test_a_raster_that_is_not_there_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract-lines", "none.tif"]) == 1
    assert "there is no raster at none.tif" in capsys.readouterr().err
