"""What the report tells about a run."""

from pathlib import Path

import numpy as np

from rasterloom.pipeline.demo.story import CLOSE_UP, most_varied
from tests.support.rasters import write_pixels


def test_the_close_up_is_where_classes_are_mixed_and_inside_the_extent(tmp_path: Path) -> None:
    values = np.ones((1, 900, 1000), "uint8")
    values[:, 600:700, 700:800] = np.random.default_rng(0).integers(1, 6, (100, 100))
    values[:, :200, :200] = np.random.default_rng(0).integers(1, 6, (200, 200))
    path = write_pixels(tmp_path / "map.tif", values, nodata=255)
    extent = (500000.0, 4999100.0, 501000.0, 4999500.0)  # the lower 400 rows
    west, south, east, north = most_varied(path, extent)
    assert (east - west, north - south) == (CLOSE_UP, CLOSE_UP)
    assert south >= extent[1]
    assert north <= extent[3]
    assert west < 500700 + 100
    assert east > 500700


def test_a_part_that_is_smaller_than_the_close_up_is_shown_whole(tmp_path: Path) -> None:
    path = write_pixels(tmp_path / "map.tif", np.full((1, 100, 90), 255, "uint8"), nodata=255)
    extent = (500000.0, 4999900.0, 500090.0, 4999940.0)
    assert most_varied(path, extent) == extent
