"""Scene, labels and class map of one extent."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.rasters.grid import Grid, read_crs
from rasterloom.pipeline.reports.views import look_at, picture_grid
from tests.support.labels import square_labels
from tests.support.rasters import write_pixels, write_raster


@settings(max_examples=25, deadline=None)
@given(
    latitude=st.floats(-75, 75),
    height=st.integers(50, 5000),
    width=st.integers(50, 5000),
    side=st.integers(40, 800),
)
def test_pictures_of_degrees_have_pixels_as_wide_as_high_on_the_ground(
    latitude: float, height: int, width: int, side: int
) -> None:
    cell = 1e-5
    grid = Grid(read_crs("EPSG:4326").to_wkt(), (cell, 0, 15, 0, -cell, latitude), height, width)
    picture = picture_grid(grid, side)
    middle = latitude - height * cell / 2
    if min(picture.shape) > 1:
        on_the_ground = picture.cell_size[0] * np.cos(np.radians(middle))
        assert on_the_ground == pytest.approx(picture.cell_size[1], rel=1e-6)
    assert 1 <= max(picture.shape) <= side


def test_a_long_strip_is_pictured_as_a_line() -> None:
    strip = Grid(read_crs("EPSG:4326").to_wkt(), (1e-5, 0, 15, 0, -1e-5, 0), 50, 4001)
    assert picture_grid(strip, 40).shape == (1, 40)


def test_views_show_the_same_ground_in_the_classes_colours(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=120, width=100, bands=4)
    labels = square_labels(height=120, width=100)
    class_map = write_pixels(tmp_path / "map.tif", np.full((1, 120, 100), 2, "uint8"), nodata=255)
    views = look_at(scene, labels, class_map, side=60)
    assert views.scene.shape == views.truth.shape == views.prediction.shape == (60, 50, 3)
    assert views.cell_size == pytest.approx(2.0)
    colors = {info.value: info.color for info in views.classes}
    assert (views.prediction == colors[2]).all()
    shown = {tuple(pixel) for pixel in views.truth.reshape(-1, 3).tolist()}
    assert shown <= {*colors.values(), (60, 60, 60)}


def test_a_close_up_has_the_maps_own_pixels(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=64, width=64)
    values = np.random.default_rng(0).integers(0, 4, (1, 64, 64)).astype("uint8")
    class_map = write_pixels(tmp_path / "map.tif", values, nodata=255)
    extent = (500010.0, 4999960.0, 500040.0, 4999990.0)
    views = look_at(scene, square_labels(height=64, width=64), class_map, extent=extent)
    assert views.prediction.shape == (30, 30, 3)
    same = values[0, 10:40, 10:40] == 0
    assert ((views.prediction == 60).all(axis=-1) == same).all()


def test_ground_that_holds_nothing_is_white(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=64, width=64, nodata=0)
    values = np.ones((1, 64, 64), "uint8")
    values[:, 48:, 48:] = 255
    class_map = write_pixels(tmp_path / "map.tif", values, nodata=255)
    views = look_at(scene, square_labels(height=64, width=64), class_map)
    assert (views.scene[48:, 48:] == 255).all()
    assert (views.prediction[48:, 48:] == 255).all()
