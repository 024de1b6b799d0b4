import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings, strategies as st
from rasterio.features import rasterize
from scipy import ndimage

from rasterloom.models.errors import LabelError
from rasterloom.pipeline.labels import clips
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.labels.objects import (
    Objects,
    instances_of,
    objects_from_masks,
    objects_in,
    objects_of_chips,
    regions_of,
)
from rasterloom.pipeline.labels.runs import to_pixels
from rasterloom.pipeline.rasters.grid import Grid, Window

NORTH_UP = Grid("EPSG:32633", (0.3, 0.0, 512345.7, 0.0, -0.3, 4987654.1), 150, 170)
TURNED = Grid("EPSG:32633", (0.8, 0.3, 512345.7, 0.3, -0.8, 4987654.1), 150, 170)
SHEARED = Grid("EPSG:32633", (0.8, 0.3, 512345.7, 0.1, -0.5, 4987654.1), 150, 170)
CHIPS = [Window(row, col, 40, 50) for row in range(-40, 160, 30) for col in range(-50, 180, 40)]
MAPS = st.builds(
    lambda seed, height, width, classes: np.random.default_rng(seed).integers(0, classes, (height, width)),
    st.integers(0, 10_000),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 5),
)


def ground(grid, shape):
    """A shape given in columns and rows, in CRS units."""
    a, b, c, d, e, f = grid.transform
    return shapely.transform(shape, lambda p: p @ np.array([[a, d], [b, e]]) + (c, f))


def make(grid, shapes, values=None):
    values = np.arange(len(shapes)) % 4 + 1 if values is None else values
    return Labels(np.array([ground(grid, s) for s in shapes], object), np.asarray(values, np.int64), ())


def square(col, row, side=10):
    return shapely.box(col, row, col + side, row + side)


def shapes(seed, count=14):
    """Polygons with holes, of several parts, with vertices on pixel corners and between them."""
    generator = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        angles = np.sort(generator.uniform(0, 2 * np.pi, generator.integers(3, 10)))
        radius = generator.uniform(2, 60, len(angles))
        col, row = generator.uniform(-30, 200), generator.uniform(-30, 180)
        ring = np.stack([col + radius * np.cos(angles), row + radius * np.sin(angles)], axis=1)
        shape = shapely.make_valid(shapely.Polygon(np.round(ring) if generator.random() < 0.5 else ring))
        if generator.random() < 0.3:
            shape = shape.difference(square(col - 2, row - 2, 4))
        if generator.random() < 0.2:
            shape = shape.union(square(col + 50, row + 30))
        if shapely.get_dimensions(shape) == 2 and shape.geom_type != "GeometryCollection":
            found.append(shape)
    return found


def naive(labels, grid, window, min_share=0.0):
    """Feature by feature with shapely: position, bounds, area in CRS units, share."""
    rectangle = shapely.box(0, 0, window.width, window.height)
    rows = []
    for position, geometry in enumerate(labels.geometries):
        moved = shapely.transform(geometry, lambda xy: to_pixels(xy, grid) - (window.col, window.row))
        clipped = shapely.make_valid(moved).intersection(rectangle)
        polygons = shapely.get_parts(shapely.get_parts([clipped]))
        inside = shapely.MultiPolygon(polygons[shapely.get_dimensions(polygons) == 2].tolist())
        if inside.area > 1e-6 and inside.area / moved.area >= min_share:
            a, b, _, d, e, _ = grid.transform
            area = inside.area * abs(a * e - b * d)
            rows.append((position, inside.bounds, area, inside.area / moved.area))
    return rows


@pytest.mark.parametrize("grid", [NORTH_UP, TURNED, SHEARED], ids=["north-up", "turned", "sheared"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), chips=st.lists(st.sampled_from(CHIPS), min_size=1, max_size=4))
def test_boxes_areas_and_shares_are_those_of_clipping_one_by_one(grid, seed, chips):
    labels = make(grid, shapes(seed))
    found = objects_of_chips(labels, grid, chips)
    expected = [naive(labels, grid, window) for window in chips]
    assert found.counts.tolist() == [len(rows) for rows in expected]
    rows = [row for chip in expected for row in chip]
    assert found.features.tolist() == [row[0] for row in rows]
    assert found.values.tolist() == labels.values[found.features].tolist()
    if rows:
        np.testing.assert_allclose(found.boxes, [row[1] for row in rows], atol=1e-4)
        np.testing.assert_allclose(found.areas, [row[2] for row in rows], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found.shares, [row[3] for row in rows], rtol=1e-5)


@pytest.mark.parametrize("grid", [NORTH_UP, TURNED], ids=["north-up", "turned"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), chips=st.lists(st.sampled_from(CHIPS), min_size=1, max_size=4))
def test_outlines_are_what_gdal_burns_of_each_feature(grid, seed, chips):
    labels = make(grid, shapes(seed))
    found = objects_of_chips(labels, grid, chips, outlines=True)
    shift = Affine.translation(-100, -100)
    for chip, window in enumerate(chips):
        rows = []
        for position, geometry in enumerate(labels.geometries):
            # in pixels, where vertices meant for pixel corners and centres lie on them
            moved = shapely.transform(geometry, lambda xy: to_pixels(xy, grid))
            whole = rasterize([moved], out_shape=(400, 400), transform=shift)
            mask = whole[100 + window.row : 100 + window.row_stop, 100 + window.col : 100 + window.col_stop]
            inside = objects_in(labels, grid, window).features
            if mask.any() and position in inside:
                rows.append((position, mask.astype(bool)))
        part = found.of(chip)
        assert part.features.tolist() == [row[0] for row in rows]
        masks = found.outlines(chip, (window.height, window.width))
        assert masks.shape == (len(rows), window.height, window.width)
        assert all((mask == row[1]).all() for mask, row in zip(masks, rows, strict=True))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), window=st.sampled_from(CHIPS))
def test_a_chip_depends_neither_on_other_chips_nor_on_far_features(seed, window):
    labels = make(NORTH_UP, shapes(seed, 30))
    alone = objects_in(labels, NORTH_UP, window, outlines=True)
    together = objects_of_chips(labels, NORTH_UP, CHIPS, outlines=True).of(CHIPS.index(window))
    near = labels.touching(NORTH_UP.window_bounds(window))
    few = Labels(labels.geometries[near], labels.values[near], (), near)
    same(alone, together)
    same(alone, objects_in(few, NORTH_UP, window, outlines=True))


def same(first, second):
    for name in ("counts", "boxes", "values", "shares", "areas", "features", "run_counts", "runs"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), strict=True)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), chips=st.lists(st.sampled_from(CHIPS), min_size=1, max_size=4))
def test_features_of_many_vertices_are_clipped_as_all_others(seed, chips):
    labels = make(TURNED, shapes(seed))
    expected = objects_of_chips(labels, TURNED, chips, outlines=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "_HEAVY", 0)
        found = objects_of_chips(labels, TURNED, chips, outlines=True)
    assert found.features.tolist() == expected.features.tolist()
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)
    np.testing.assert_allclose(found.areas, expected.areas, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.runs, expected.runs)


def test_a_feature_that_only_touches_a_chip_is_not_in_it():
    chip = Window(0, 0, 50, 50)
    around = [square(50, 10), square(10, -10), square(-10, -10), square(50, 50), square(-20, -20, 20)]
    assert len(objects_in(make(NORTH_UP, around), NORTH_UP, chip)) == 0


def test_a_part_that_only_touches_the_chip_does_not_widen_the_box():
    shape = shapely.MultiPolygon([square(5, 5), shapely.box(-10, 20, 0, 40)])
    found = objects_in(make(NORTH_UP, [shape]), NORTH_UP, Window(0, 0, 50, 50))
    np.testing.assert_allclose(found.boxes, [[5, 5, 15, 15]])


def test_a_feature_of_several_parts_is_one_object():
    shape = shapely.MultiPolygon([square(5, 5), square(30, 25)])
    found = objects_in(make(NORTH_UP, [shape]), NORTH_UP, Window(0, 0, 50, 50), outlines=True)
    np.testing.assert_allclose(found.boxes, [[5, 5, 40, 35]])
    assert found.areas.tolist() == pytest.approx([200 * 0.09])
    assert found.outlines(0, (50, 50)).sum() == 200


def test_holes_count_neither_as_area_nor_as_pixels():
    shape = square(5, 5).difference(square(8, 8, 4))
    found = objects_in(make(NORTH_UP, [shape]), NORTH_UP, Window(0, 0, 50, 50), outlines=True)
    assert found.areas.tolist() == pytest.approx([84 * 0.09])
    assert found.outlines(0, (50, 50)).sum() == 84


def test_duplicates_and_overlaps_stay_objects_of_their_own():
    found = objects_in(
        make(NORTH_UP, [square(5, 5), square(5, 5), square(8, 8)]),
        NORTH_UP,
        Window(0, 0, 40, 50),
        outlines=True,
    )
    assert found.features.tolist() == [0, 1, 2]
    assert found.outlines(0, (40, 50)).sum(axis=(1, 2)).tolist() == [100, 100, 100]


def test_points_and_lines_are_no_objects():
    thin = [shapely.Point(5, 5), shapely.LineString([(1, 1), (9, 9)])]
    mixed = shapely.GeometryCollection([square(10, 10), shapely.Point(1, 1)])
    found = objects_in(make(NORTH_UP, [*thin, mixed]), NORTH_UP, Window(0, 0, 50, 50), outlines=True)
    assert found.features.tolist() == [2]
    np.testing.assert_allclose(found.boxes, [[10, 10, 20, 20]])


@pytest.mark.parametrize(("min_share", "kept"), [(0.0, [0, 1, 2]), (0.4, [1, 2]), (0.5, [1, 2]), (1.0, [2])])
def test_features_with_less_than_the_least_share_are_left_out(min_share, kept):
    labels = make(NORTH_UP, [square(-7, 5), square(-5, 5), square(0, 20)])
    found = objects_in(labels, NORTH_UP, Window(0, 0, 50, 50), min_share=min_share)
    assert found.features.tolist() == kept


def test_an_object_without_a_pixel_has_a_box_but_no_outline():
    labels = make(NORTH_UP, [square(5.6, 5.6, 0.5)])
    assert len(objects_in(labels, NORTH_UP, Window(0, 0, 50, 50))) == 1
    assert len(objects_in(labels, NORTH_UP, Window(0, 0, 50, 50), outlines=True)) == 0


def test_features_keep_their_position_in_the_layer():
    labels = Labels(np.array([ground(NORTH_UP, square(5, 5))], object), np.array([3]), (), np.array([71]))
    assert objects_in(labels, NORTH_UP, Window(0, 0, 50, 50)).features.tolist() == [71]


@pytest.mark.parametrize("outlines", [False, True])
def test_no_chip_and_no_feature_give_no_objects(outlines):
    labels = make(NORTH_UP, [square(5, 5)])
    assert objects_of_chips(labels, NORTH_UP, [], outlines=outlines).counts.tolist() == []
    none = Labels(np.zeros(0, object), np.zeros(0, np.int64), ())
    found = objects_of_chips(none, NORTH_UP, CHIPS[:3], outlines=outlines)
    same_shape = Objects.none(3, outlines=outlines)
    assert found.counts.tolist() == [0, 0, 0]
    assert (found.runs is None) == (same_shape.runs is None)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(classes=MAPS)
def test_regions_are_those_of_labelling_each_class(classes):
    found = regions_of(classes, pixel_area=0.25)
    masks = found.outlines(0, classes.shape)
    expected = []
    for value in range(1, int(classes.max()) + 1):
        numbered, count = ndimage.label(classes == value, np.ones((3, 3)))
        expected += [(value, numbered == one) for one in range(1, count + 1)]
    expected.sort(key=lambda region: int(np.flatnonzero(region[1])[0]))
    assert found.values.tolist() == [value for value, _ in expected]
    for mask, box, area, (_, region) in zip(masks, found.boxes, found.areas, expected, strict=True):
        assert (mask == region).all()
        rows, cols = np.nonzero(region)
        assert box.tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        assert area == region.sum() / 4


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_regions_of_several_chips_never_join(seed):
    maps = np.random.default_rng(seed).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    same(regions_of(maps), Objects.joined([regions_of(one) for one in maps]))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(ids=MAPS)
def test_instances_are_the_numbers_of_a_map(ids):
    found = instances_of(ids, {number: 10 * number for number in (1, 2, 4)}, 4.0)
    numbers = [number for number in (1, 2, 4) if (ids == number).any()]
    assert found.values.tolist() == [10 * number for number in numbers]
    assert found.areas.tolist() == [4.0 * (ids == number).sum() for number in numbers]
    for mask, number in zip(found.outlines(0, ids.shape), numbers, strict=True):
        assert (mask == (ids == number)).all()


def test_instances_without_classes_are_of_class_one():
    ids = np.array([[[0, 5], [5, 2]], [[0, 0], [0, 0]]], np.uint16)
    found = instances_of(ids)
    assert found.counts.tolist() == [2, 0]
    assert found.values.tolist() == [1, 1]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 5))
def test_masks_come_back_as_outlines(seed, count):
    masks = np.random.default_rng(seed).random((count, 6, 7)) < 0.4
    masks[count // 2 :] &= count % 2 == 0  # some are empty
    found = objects_from_masks(masks, np.arange(count))
    seen = masks.any(axis=(1, 2))
    assert found.values.tolist() == np.flatnonzero(seen).tolist()
    assert (found.outlines(0, (6, 7)) == masks[seen]).all()


def several(seed=1):
    return [regions_of(np.random.default_rng(seed + n).integers(0, 3, (5, 6))) for n in range(4)] + [
        Objects.none(1, outlines=True)
    ]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(chips=st.lists(st.integers(-5, 4), max_size=8))
def test_chips_are_chosen_in_any_order_and_with_repeats(chips):
    parts = several()
    same(
        Objects.joined(parts).of(chips),
        Objects.joined([Objects.none(0, outlines=True), *(parts[chip] for chip in chips)]),
    )


def test_kept_objects_leave_their_chips_in_place():
    found = Objects.joined(several())
    some = found.kept(found.values == 2)
    assert len(some.counts) == len(found.counts)
    for chip in range(5):
        masks = found.of(chip).outlines(0, (5, 6))[found.of(chip).values == 2]
        assert (some.outlines(chip, (5, 6)) == masks).all()


def test_starts_are_the_first_object_of_each_chip():
    found = Objects.joined(several())
    assert found.starts.tolist() == [0, *np.cumsum(found.counts).tolist()]
    assert found.chips.tolist() == [chip for chip, count in enumerate(found.counts) for _ in range(count)]


def test_outlines_are_lost_when_one_part_has_none():
    boxes = objects_in(make(NORTH_UP, [square(5, 5)]), NORTH_UP, Window(0, 0, 50, 50))
    joined = Objects.joined([*several(), boxes])
    assert joined.runs is None
    with pytest.raises(LabelError, match="only the boxes"):
        joined.outlines(0, (5, 6))
