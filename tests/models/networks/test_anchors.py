import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torchvision.ops import box_iou

from rasterloom.models.networks.anchors import best_of_each, shape_overlaps, typical_shapes

sides = st.floats(1, 500, allow_nan=False)
sizes = st.lists(st.tuples(sides, sides), min_size=1, max_size=60)


@given(first=sizes, second=sizes)
def test_overlap_of_shapes_is_that_of_boxes_on_one_centre(first, second):
    first, second = (torch.tensor(pairs, dtype=torch.float64) for pairs in (first, second))
    boxes = [torch.cat([-pairs / 2, pairs / 2], dim=1) for pairs in (first, second)]
    torch.testing.assert_close(shape_overlaps(first, second), box_iou(*boxes))


@given(found=sizes, count=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_same_boxes_in_any_order_give_the_same_shapes_in_ascending_area(found, count, seed):
    boxes = np.array(found)
    shapes = typical_shapes(boxes, count)
    shuffled = np.random.default_rng(seed).permutation(boxes)
    assert typical_shapes(shuffled, count) == shapes
    assert len(shapes) == count
    areas = [width * height for width, height in typical_shapes(boxes, count)]
    assert areas == sorted(areas) or np.allclose(areas, sorted(areas), rtol=0.02)  # sides are rounded
    assert np.array(shapes).min() >= boxes.min() - 0.01
    assert np.array(shapes).max() <= boxes.max() + 0.01


def test_boxes_of_a_few_kinds_give_those_kinds():
    rng = np.random.default_rng(0)
    kinds = np.array([[10.0, 10.0], [12.0, 40.0], [80.0, 30.0]])
    boxes = np.repeat(kinds, 200, axis=0) + rng.normal(0, 0.5, (600, 2))
    np.testing.assert_allclose(typical_shapes(boxes, 3), kinds, atol=0.3)


def test_shapes_fit_better_than_as_many_shapes_drawn_from_the_boxes():
    rng = np.random.default_rng(1)
    boxes = np.exp(rng.normal(3, 0.6, (2000, 2)))

    def fit(shapes):
        return float(shape_overlaps(torch.tensor(boxes), torch.tensor(shapes)).amax(dim=1).mean())

    drawn = [fit(rng.choice(boxes, 9)) for _ in range(50)]
    assert fit(np.array(typical_shapes(boxes, 9))) > max(drawn)


def test_many_boxes_are_looked_at_in_part_and_give_nearly_the_same(monkeypatch):
    boxes = np.exp(np.random.default_rng(2).normal(3, 0.5, (5000, 2)))
    whole = np.array(typical_shapes(boxes, 4))
    monkeypatch.setattr("rasterloom.models.networks.anchors._MOST_SHAPES", 1000)
    np.testing.assert_allclose(typical_shapes(boxes, 4), whole, rtol=0.2)


@pytest.mark.parametrize("count", [1, 9])
def test_boxes_that_are_all_alike_give_that_shape_each_time(count):
    assert typical_shapes(np.full((50, 2), [20.0, 30.0]), count) == [[20.0, 30.0]] * count


@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=40))
def test_the_best_of_each_is_the_first_of_the_highest(rows):
    keys = torch.tensor([key for key, _ in rows], dtype=torch.int64)
    values = torch.tensor([value for _, value in rows], dtype=torch.float32)
    wanted = []
    for key in sorted({key for key, _ in rows}):
        best = max(value for other, value in rows if other == key)
        wanted.append(rows.index((key, best)))
    assert best_of_each(keys, values).tolist() == wanted
