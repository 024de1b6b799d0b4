"""The stages of the demo, where the journey does not reach."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rasterloom.models.errors import CrsError, LabelError, MissingInputError, RasterloomError, SettingError
from rasterloom.pipeline.demo.run import run_demo
from rasterloom.pipeline.demo.stages import check_cog
from tests.support.labels import square_labels
from tests.support.rasters import write_pixels, write_raster


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"raster": "absent.tif"}, MissingInputError, "absent.tif"),
        ({"labels": "absent.geojson"}, MissingInputError, "absent.geojson"),
        ({"class_field": "crop"}, LabelError, "classvalue, classname"),
        ({"cell_size": 10.0}, SettingError, "too few"),
        ({"out_crs": "EPSG:0"}, CrsError, "EPSG:0"),
    ],
)
def test_inputs_that_cannot_work_are_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], error: type[RasterloomError], message: str
) -> None:
    square_labels(height=300, width=300).to_file(tmp_path / "labels.geojson")
    usual = {
        "raster": write_raster(tmp_path / "scene.tif", height=300, width=300),
        "labels": tmp_path / "labels.geojson",
    }
    with pytest.raises(error, match=message):
        run_demo(tmp_path / "demo", progress=False, **{**usual, **change})
    assert not (tmp_path / "demo").exists()


def test_a_raster_without_a_crs_is_refused(tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "scene.tif", height=300, width=300, crs=None)
    with pytest.raises(CrsError, match=r"scene\.tif"):
        run_demo(tmp_path / "demo", raster=raster, labels=square_labels(height=9, width=9), progress=False)


def test_a_file_that_is_no_cog_is_told_so(tmp_path: Path) -> None:
    facts = check_cog(write_pixels(tmp_path / "map.tif", np.zeros((1, 1100, 1100), "uint8")))
    assert not facts.valid or facts.problems
    assert facts.size == (1100, 1100)
