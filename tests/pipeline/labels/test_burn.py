import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from rasterio.features import rasterize

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.labels.burn import burn
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.tiles import iter_windows

NORTH_UP = Grid("EPSG:32633", (0.3, 0.0, 512345.7, 0.0, -0.3, 4987654.1), 150, 170)
TURNED = Grid("EPSG:32633", (0.8, 0.3, 512345.7, 0.3, -0.8, 4987654.1), 150, 170)
WHOLE = Window(0, 0, 150, 170)


def make_labels(geometries, values=None):
    values = np.arange(len(geometries)) % 5 + 1 if values is None else np.asarray(values)
    classes = tuple(ClassInfo(int(v), str(v), (0, 0, 0)) for v in np.unique(values))
    return Labels(np.array(geometries, dtype=object), values.astype(np.int64), classes)


def on_ground(grid, rings):
    """Polygons from rings of (column, row)."""
    a, b, c, d, e, f = grid.transform
    return [
        shapely.Polygon([(a * col + b * row + c, d * col + e * row + f) for col, row in ring])
        for ring in rings
    ]


def random_polygons(grid, seed, count=12):
    generator = np.random.default_rng(seed)
    rings = []
    for _ in range(count):
        angles = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 9)))
        radius = generator.uniform(2, 60, len(angles))
        col, row = generator.uniform(-20, 190), generator.uniform(-20, 170)
        rings.append(np.stack([col + radius * np.cos(angles), row + radius * np.sin(angles)], axis=1))
    return [shapely.make_valid(polygon) for polygon in on_ground(grid, rings)]


windows = st.builds(
    Window, st.integers(0, 140), st.integers(0, 160), st.integers(1, 150), st.integers(1, 170)
).map(lambda w: w.clipped((150, 170)))


@pytest.mark.parametrize("grid", [NORTH_UP, TURNED], ids=["north-up", "turned"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), window=windows)
def test_a_window_holds_what_gdal_burns_into_the_whole_raster(grid, seed, window):
    polygons = random_polygons(grid, seed)
    labels = make_labels(polygons)
    whole = rasterize(
        zip(polygons, labels.values.tolist(), strict=True),
        out_shape=grid.shape,
        transform=grid.affine,
        dtype="uint8",
    )
    assert (burn(labels, grid, window) == whole[window.slices]).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), size=st.integers(7, 90))
def test_edges_on_pixel_centres_fall_the_same_way_in_every_window(seed, size):
    # every vertex on half a cell: in map units each window of GDAL's own rounds these differently
    generator = np.random.default_rng(seed)
    rings = []
    for col, row, width, height in generator.integers(0, 200, (20, 4)) / 2:
        rings.append(
            [(col, row), (col + width, row + height / 2), (col + width, row + height), (col, row + height)]
        )
    labels = make_labels([p for p in on_ground(NORTH_UP, rings) if p.is_valid and p.area])
    whole = burn(labels, NORTH_UP, WHOLE)
    for window in iter_windows(NORTH_UP.shape, size):
        assert (burn(labels, NORTH_UP, window) == whole[window.slices]).all()


@pytest.mark.parametrize("kind", ["triangles", "lines", "points"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_vertices_on_halves_of_a_pixel_follow_gdals_rules(kind, seed):
    # cells of one metre and whole origins: here GDAL computes without rounding too
    grid = Grid("EPSG:32633", (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 80, 90)
    generator = np.random.default_rng(seed)
    make = {"triangles": shapely.Polygon, "lines": shapely.LineString, "points": shapely.MultiPoint}[kind]
    shapes = []
    while len(shapes) < 8:
        rows, cols = generator.integers(-10, 200, (2, 3)) / 2
        shape = make(list(zip(500000.0 + cols, 5000000.0 - rows, strict=True)))
        if shape.is_valid:
            shapes.append(shape)
    labels = make_labels(shapes)
    expected = rasterize(
        zip(labels.geometries, labels.values.tolist(), strict=True),
        out_shape=grid.shape,
        transform=grid.affine,
        dtype="uint8",
    )
    assert (burn(labels, grid, Window(0, 0, 80, 90)) == expected).all()


def test_holes_and_collections_are_burned_like_gdal_burns_them():
    grid = Grid("EPSG:32633", (0.5, 0.0, 500000.0, 0.0, -0.5, 5000000.0), 80, 90)
    disc = shapely.Point(500020, 4999980).buffer(15)
    ring = disc.difference(shapely.Point(500021, 4999981).buffer(6.3))
    line = shapely.LineString([(500001, 4999999), (500044, 4999961.3)])
    nested = shapely.GeometryCollection([shapely.GeometryCollection([line]), shapely.Point(500003, 4999970)])
    labels = make_labels([ring, nested])
    shapes = zip(labels.geometries, labels.values.tolist(), strict=True)
    expected = rasterize(shapes, out_shape=grid.shape, transform=grid.affine, dtype="uint8")
    assert (burn(labels, grid, Window(0, 0, 80, 90)) == expected).all()


def test_many_features_on_one_place_are_burned_a_part_at_a_time(monkeypatch):
    polygons = random_polygons(NORTH_UP, 3, count=60)
    whole = burn(make_labels(polygons), NORTH_UP, WHOLE)
    monkeypatch.setattr("rasterloom.pipeline.labels.burn._PIXELS", 997)
    assert (burn(make_labels(polygons), NORTH_UP, WHOLE) == whole).all()


def test_lines_and_points_are_the_same_in_every_window():
    a, _, c, _, e, f = NORTH_UP.transform
    line = shapely.LineString([(c + a * 3.2, f + e * 5.1), (c + a * 160.7, f + e * 120.4)])
    points = shapely.MultiPoint([(c + a * 12.5, f + e * 100.5), (c + a * 99.1, f + e * 3.9)])
    labels = make_labels([line, points])
    whole = burn(labels, NORTH_UP, WHOLE)
    assert np.count_nonzero(whole == 1) > 150
    assert np.count_nonzero(whole == 2) == 2
    for window in iter_windows(NORTH_UP.shape, 37):
        assert (burn(labels, NORTH_UP, window) == whole[window.slices]).all()


def test_the_later_feature_wins():
    squares = on_ground(
        NORTH_UP, [[(0, 0), (20, 0), (20, 20), (0, 20)], [(10, 0), (30, 0), (30, 20), (10, 20)]]
    )
    assert burn(make_labels(squares, [1, 2]), NORTH_UP, Window(5, 8, 1, 4)).tolist() == [[1, 1, 2, 2]]
    assert burn(make_labels(squares[::-1], [2, 1]), NORTH_UP, Window(5, 18, 1, 4)).tolist() == [[1, 1, 2, 2]]


def test_nothing_is_burned_where_no_feature_is():
    squares = on_ground(NORTH_UP, [[(0, 0), (5, 0), (5, 5), (0, 5)]])
    burned = burn(make_labels(squares), NORTH_UP, Window(50, 50, 8, 9), "uint16")
    assert burned.shape == (8, 9)
    assert burned.dtype == np.uint16
    assert not burned.any()


def test_class_values_above_255_are_kept_in_wide_masks():
    squares = on_ground(NORTH_UP, [[(0, 0), (5, 0), (5, 5), (0, 5)]])
    assert (
        burn(make_labels(squares, [1000]), NORTH_UP, Window(0, 0, 2, 2), "uint16").tolist()
        == [[1000] * 2] * 2
    )
