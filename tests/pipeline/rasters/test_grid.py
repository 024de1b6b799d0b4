import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings, strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform as project

from rasterloom.models.errors import CrsError, SettingError
from rasterloom.pipeline.rasters.grid import (
    Grid,
    Window,
    pixels_per_cell,
    project_bounds,
    read_crs,
    reflect_indices,
    same_crs,
)

UTM33 = CRS.from_epsg(32633).to_wkt()
sides = st.integers(1, 40)


@st.composite
def grids(draw, *, rotated=True):
    angle = draw(st.floats(-180, 180)) if rotated else 0.0
    flip = draw(st.sampled_from([-1, 1]))
    cell = draw(st.floats(0.1, 50))
    east, north = draw(st.floats(-1e6, 1e6)), draw(st.floats(-1e6, 1e6))
    affine = Affine.translation(east, north) @ Affine.rotation(angle) @ Affine.scale(cell, flip * cell)
    return Grid(UTM33, tuple(affine)[:6], draw(sides), draw(sides))


@st.composite
def windows(draw, *, beyond=0):
    corner = st.integers(-beyond, 40 + beyond)
    return Window(draw(corner), draw(corner), draw(st.integers(0, 40)), draw(st.integers(0, 40)))


@settings(max_examples=50)
@given(shape=st.tuples(sides, sides), window=windows(beyond=30))
def test_clipping_keeps_exactly_the_pixels_inside(shape, window):
    inside = [
        (row, col)
        for row in range(window.row, window.row_stop)
        for col in range(window.col, window.col_stop)
        if 0 <= row < shape[0] and 0 <= col < shape[1]
    ]
    clipped = window.clipped(shape)
    assert clipped.height * clipped.width == len(inside)
    assert np.ones(shape)[clipped.slices].shape == (clipped.height, clipped.width)
    if inside:
        assert inside[0] == (clipped.row, clipped.col)
        assert clipped.clipped(shape) == clipped


@given(window=windows(), pixels=st.integers(0, 9))
def test_padding_grows_a_window_on_all_sides(window, pixels):
    padded = window.padded(pixels)
    assert (padded.row + pixels, padded.col + pixels) == (window.row, window.col)
    assert (padded.row_stop - pixels, padded.col_stop - pixels) == (window.row_stop, window.col_stop)


@settings(max_examples=60)
@given(grid=grids(rotated=False), data=st.data())
def test_a_window_found_by_its_own_bounds_is_itself(grid, data):
    row, col = data.draw(st.integers(0, grid.height - 1)), data.draw(st.integers(0, grid.width - 1))
    window = Window(
        row, col, data.draw(st.integers(1, grid.height - row)), data.draw(st.integers(1, grid.width - col))
    )
    assert grid.window_of(grid.window_bounds(window)) == window


@settings(max_examples=60)
@given(grid=grids(), data=st.data())
def test_the_bounds_of_a_rotated_window_hold_every_corner_of_its_pixels(grid, data):
    row, col = data.draw(st.integers(0, grid.height - 1)), data.draw(st.integers(0, grid.width - 1))
    window = Window(row, col, 1, 1)
    west, south, east, north = grid.window_bounds(window)
    slack = 1e-6
    for place in ((col, row), (col + 1, row), (col, row + 1), (col + 1, row + 1), (col + 0.5, row + 0.5)):
        x, y = grid.affine @ place
        assert west - slack <= x <= east + slack
        assert south - slack <= y <= north + slack
    found = grid.window_of((west, south, east, north))
    assert found.row <= row < found.row_stop
    assert found.col <= col < found.col_stop


@settings(max_examples=40)
@given(grid=grids(), window=windows())
def test_a_cropped_grid_puts_its_pixels_where_the_whole_does(grid, window):
    cropped = grid.cropped(window)
    assert cropped.shape == (window.height, window.width)
    assert cropped.affine @ (0.5, 0.5) == pytest.approx(grid.affine @ (window.col + 0.5, window.row + 0.5))
    assert cropped.affine.almost_equals(grid.window_affine(window), precision=1e-9)


@given(grid=grids())
def test_cell_size_is_positive_whatever_the_direction(grid):
    cell = math.sqrt(abs(grid.affine.determinant))
    assert grid.cell_size == pytest.approx((cell, cell))


def test_bounds_outside_the_grid_give_an_empty_window():
    grid = Grid(UTM33, (1.0, 0.0, 0.0, 0.0, -1.0, 10.0), 10, 20)
    outside = grid.window_of((100, 100, 110, 110))
    assert 0 in (outside.height, outside.width)


def test_a_new_cell_size_covers_the_same_ground():
    grid = Grid(UTM33, (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 100, 120)
    coarse = grid.regridded(cell_size=(2.0, 4.0))
    assert coarse.shape == (25, 60)
    assert coarse.bounds == grid.bounds
    assert coarse.crs == grid.crs


def test_the_same_crs_in_other_words_changes_nothing():
    grid = Grid(UTM33, (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 100, 120)
    assert grid.regridded(crs="EPSG:32633") == grid
    assert grid.regridded(crs=CRS.from_epsg(32633).to_wkt(version="WKT2_2019")) == grid


def test_a_south_up_grid_is_turned_north_up():
    grid = Grid(UTM33, (1.0, 0.0, 5.0, 0.0, 1.0, 7.0), 10, 20)
    turned = grid.regridded()
    assert turned.transform == (1.0, 0.0, 5.0, 0.0, -1.0, 17.0)
    assert turned.bounds == grid.bounds


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:3035", "EPSG:32634"])
def test_a_grid_in_another_crs_holds_every_corner_and_the_resolution(crs):
    grid = Grid(UTM33, (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0), 80, 120)
    other = grid.regridded(crs=crs)
    west, south, east, north = other.bounds
    corners = [grid.affine @ place for place in ((0, 0), (120, 0), (0, 80), (120, 80))]
    xs, ys = project(grid.crs, other.crs, *zip(*corners, strict=True))
    slack = max(other.cell_size)
    assert west - slack <= min(xs) <= max(xs) <= east + slack
    assert south - slack <= min(ys) <= max(ys) <= north + slack
    assert math.hypot(*other.shape) == pytest.approx(math.hypot(*grid.shape), rel=0.02)


@pytest.mark.parametrize("cell", [(0, 1), (-1, 1), (math.nan, 1), (math.inf, 1)])
def test_a_cell_size_that_is_no_size_is_refused(cell):
    grid = Grid(UTM33, (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 10, 10)
    with pytest.raises(SettingError, match="above 0"):
        grid.regridded(cell_size=cell)


def test_metres_given_for_degrees_are_noticed():
    grid = Grid(CRS.from_epsg(4326).to_wkt(), (0.001, 0.0, 10.0, 0.0, -0.001, 50.0), 100, 100)
    with pytest.raises(SettingError, match=r"larger than the raster, which is 0.1 x 0.1 units"):
        grid.regridded(cell_size=(10.0, 10.0))


def test_a_box_beyond_the_reach_of_a_projection_is_refused():
    wgs84 = CRS.from_epsg(4326).to_wkt()
    with pytest.raises(CrsError, match="EPSG:32633"):
        project_bounds((200.0, 95.0, 300.0, 100.0), wgs84, UTM33)


@pytest.mark.parametrize(
    "text", ["EPSG:32633", 32633, UTM33, {"wkid": 32633}, {"wkid": 1, "latestWkid": 32633}, {"wkt": UTM33}]
)
def test_a_crs_is_read_from_every_usual_form(text, capfd):
    assert read_crs(text).to_epsg() == 32633
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["nonsense", "", None, -1, 12345678, {}, {"wkid": "x"}, [1], "EPSG:abc"])
def test_a_crs_that_is_none_is_refused_in_words(text, capfd):
    with pytest.raises(CrsError, match="give 'EPSG:32633'"):
        read_crs(text)
    assert capfd.readouterr().err == ""


def test_two_descriptions_of_one_crs_are_the_same():
    assert same_crs("EPSG:32633", UTM33)
    assert not same_crs("EPSG:32634", UTM33)


@settings(max_examples=80)
@given(size=st.integers(1, 12), before=st.integers(0, 40), after=st.integers(0, 40))
def test_reflection_is_numpys(size, before, after):
    axis = np.arange(size)
    expected = np.pad(axis, (before, after), mode="reflect" if size > 1 else "edge")
    assert list(reflect_indices(-before, size + after, size)) == expected.tolist()


@settings(max_examples=30)
@given(size=st.integers(1, 9), start=st.integers(-30, 30), length=st.integers(0, 9))
def test_reflection_of_a_part_is_the_part_of_the_reflection(size, start, length):
    whole = list(reflect_indices(-30, 40, size))
    assert list(reflect_indices(start, start + length, size)) == whole[start + 30 : start + 30 + length]


def test_pixels_per_cell_is_the_ratio_of_the_cells():
    fine = Grid(UTM33, (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 100, 120)
    assert pixels_per_cell(fine, fine.regridded(cell_size=(2.0, 5.0))) == pytest.approx((2.0, 5.0))
    cropped = fine.regridded(cell_size=(2.0, 5.0)).cropped(Window(3, 4, 2, 2))
    assert pixels_per_cell(fine, cropped) == pytest.approx((2.0, 5.0))
    mercator = fine.regridded(crs="EPSG:3857", cell_size=(3.0, 3.0))
    stretch = 1 / math.cos(math.radians(45.15))
    assert pixels_per_cell(fine, mercator) == pytest.approx((3 / stretch, 3 / stretch), rel=0.01)


def test_pixels_per_cell_out_of_reach_is_not_a_number():
    fine = Grid(UTM33, (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 100, 120)
    far = Grid(CRS.from_epsg(4326).to_wkt(), (1.0, 0.0, 0.0, 0.0, -1.0, 200.0), 10, 10)
    assert not any(map(math.isfinite, pixels_per_cell(fine, far)))
