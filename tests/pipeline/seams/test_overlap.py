"""Overlap of boxes, pair by pair, and shapes that can be laid over each other."""

import numpy as np
import shapely
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.seams.overlap import areal, clipped, iou, overlapping_pairs


def boxes(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    corner = random.integers(0, 20, (count, 2))
    return np.concatenate([corner, corner + random.integers(0, 8, (count, 2))], axis=1).astype(float)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_every_pair_that_shares_an_area_comes_once(count: int, seed: int) -> None:
    some, labels = boxes(count, seed), np.random.default_rng(seed).integers(0, 2, count)
    found = [
        pair for block in overlapping_pairs(some, labels) for pair in zip(*map(list, block), strict=True)
    ]
    shapes = shapely.box(*some.T)
    expected = {
        (i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if labels[i] == labels[j] and shapes[i].intersection(shapes[j]).area > 0
    }
    assert set(found) == expected
    assert len(found) == len(expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_iou_and_clipping_are_those_of_shapes(seed: int) -> None:
    first, second = boxes(30, seed), boxes(30, seed + 1)
    one, other = shapely.box(*first.T), shapely.box(*second.T)
    shared, common = (shapely.area(each(one, other)) for each in (shapely.intersection, shapely.union))
    ratio = np.divide(shared, common, out=np.zeros(30), where=common > 0)
    assert np.allclose(iou(first, second), ratio, rtol=0, atol=1e-12)
    both = clipped(first, second)
    assert np.allclose((both[:, 2] - both[:, 0]) * (both[:, 3] - both[:, 1]), shared)


def test_only_areas_are_left_of_shapes_and_they_are_valid() -> None:
    area, line = shapely.box(0, 0, 1, 1), shapely.LineString([(1, 1), (2, 2)])
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    mixed = shapely.GeometryCollection([area, line])
    twice = shapely.GeometryCollection([area, shapely.MultiPolygon([shapely.box(3, 3, 4, 4)]), line])
    lines = shapely.GeometryCollection([line, line])
    given_shapes = np.array([area, bow, mixed, twice, lines, None], object)
    shapes = areal(given_shapes)
    assert shapes[5] is None
    assert [shape.geom_type for shape in shapes[:5]] == ["Polygon"] + ["MultiPolygon", "Polygon"] + [
        "MultiPolygon"
    ] * 2
    assert shapely.area(shapes[:5]).tolist() == [1, 2, 1, 2, 0]
    assert shapely.is_valid(shapes[:5]).all()
    assert given_shapes[1] is bow, "what was given is left as it was"
