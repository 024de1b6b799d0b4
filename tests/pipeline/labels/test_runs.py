import numpy as np
import pytest
import shapely

from rasterloom.pipeline.labels.runs import runs_of, to_pixels
from rasterloom.pipeline.rasters.grid import Grid, Window

GRID = Grid("EPSG:32633", (0.3, 0.0, 512345.7, 0.0, -0.3, 4987654.1), 150, 170)


def test_a_vertex_meant_for_a_pixel_centre_lies_on_it():
    places = np.array([(10.5, 20.5), (30.5, 20.5), (30.5, 40.5), (169.5, 149.5)])
    ground = np.stack([512345.7 + 0.3 * places[:, 0], 4987654.1 - 0.3 * places[:, 1]], axis=1)
    assert to_pixels(ground, GRID).tolist() == places.tolist()


def test_runs_come_in_the_order_of_the_features_whatever_their_kind():
    point, line = shapely.Point(512350, 4987650), shapely.LineString([(512346, 4987650), (512356, 4987645)])
    square = shapely.box(512350, 4987640, 512353, 4987643)
    runs = runs_of(np.array([square, point, line, square], object), GRID, Window(0, 0, 150, 170))
    assert (np.diff(runs.feature) >= 0).all()
    assert set(runs.feature.tolist()) == {0, 1, 2, 3}


def test_squares_side_by_side_leave_no_pixel_out():
    # all edges on pixel centres; the row below a square belongs to it too, as GDAL has it
    xs, ys = 512345.7 + 0.3 * np.arange(0.5, 30, 5), 4987654.1 - 0.3 * np.arange(0.5, 30, 5)
    squares = [shapely.box(xs[i], ys[j + 1], xs[i + 1], ys[j]) for j in range(5) for i in range(5)]
    runs = runs_of(np.array(squares, object), GRID, Window(0, 0, 150, 170))
    filled = np.zeros((150, 170), int)
    for row, start, stop in zip(runs.row, runs.start, runs.stop, strict=True):
        filled[row, start:stop] += 1
    assert (filled[0:26, 1:26] > 0).all()
    assert filled.sum() == 25 * 25 + 25 * 5
    assert (filled[:, 26:] == 0).all()


@pytest.mark.parametrize("window", [Window(3, 5, 20, 20), Window(-9, -9, 30, 30)])
def test_runs_stay_inside_the_window(window):
    disc = shapely.Point(512348, 4987652).buffer(4)
    runs = runs_of(np.array([disc], object), GRID, window)
    assert len(runs.row)
    assert runs.row.min() >= window.row
    assert runs.row.max() < window.row_stop
    assert runs.start.min() >= window.col
    assert runs.stop.max() <= window.col_stop
