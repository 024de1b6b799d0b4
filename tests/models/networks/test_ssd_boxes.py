import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.ops import box_convert, box_iou

from rasterloom.models.networks.ssd_boxes import (
    DENSE_ZOOMS,
    MATCHED,
    SsdAnchors,
    decoded,
    dense_grids,
    encoded,
    fitting_grids,
    owners,
)

ANCHORS = SsdAnchors(tile=64, grids=(4, 2), zooms=(1.0, 0.5), ratios=((1.0, 1.0), (1.0, 0.5)))


def _boxes(count, seed, side=64.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * (side - 12)
    return torch.cat([corner, corner + 4 + torch.rand(count, 2, generator=generator) * 8], dim=1)


def test_anchors_stand_in_the_middles_of_cells_zoomed_and_of_the_ratios_of_height_to_width():
    found = ANCHORS.over(64, 64)
    assert ANCHORS.per_cell == 4
    assert found.shape == ((16 + 4) * 4, 4)
    assert found[:4].tolist() == [[8, 8, 16, 16], [8, 8, 8, 16], [8, 8, 8, 8], [8, 8, 4, 8]]
    assert found[4, :2].tolist() == [24, 8]  # the next cell is to the right
    assert found[16 * 4].tolist() == [16, 16, 32, 32]


@given(rows=st.integers(1, 5), cols=st.integers(1, 5))
def test_a_larger_image_has_more_cells_of_the_same_size(rows, cols):
    small, large = ANCHORS.over(64, 64), ANCHORS.over(64 * rows, 64 * cols)
    assert len(large) == len(small) * rows * cols
    shifts = [
        small + torch.tensor([64.0 * col, 64.0 * row, 0, 0]) for row in range(rows) for col in range(cols)
    ]
    same = {tuple(anchor) for anchor in torch.cat(shifts).tolist()}
    assert {tuple(anchor) for anchor in large.tolist()} == same


def test_an_image_smaller_than_a_cell_has_one():
    assert ANCHORS.cells(2, 10, 100) == (1, 3)
    assert SsdAnchors(tile=64, grids=(2,), zooms=(1.0,), ratios=((1.0, 1.0),)).over(10, 10).shape == (1, 4)


@given(seed=st.integers(0, 999))
def test_boxes_come_back_from_what_they_are_encoded_as(seed):
    boxes = _boxes(20, seed)
    anchors = box_convert(_boxes(20, seed + 1), "xyxy", "cxcywh")
    torch.testing.assert_close(
        decoded(encoded(boxes, anchors), anchors, bounded=False), boxes, atol=1e-3, rtol=0
    )


@given(seed=st.integers(0, 999))
def test_bounded_boxes_stay_near_their_anchors_whatever_is_answered(seed):
    generator = torch.Generator().manual_seed(seed)
    anchors = box_convert(_boxes(20, seed), "xyxy", "cxcywh")
    boxes = decoded(torch.randn(3, 20, 4, generator=generator) * 100, anchors, bounded=True)
    found = box_convert(boxes, "xyxy", "cxcywh")
    assert ((found[..., :2] - anchors[:, :2]).abs() <= anchors[:, 2:] / 2 + 1e-3).all()
    assert (found[..., 2:] >= anchors[:, 2:] * 0.5 - 1e-3).all()
    assert (found[..., 2:] <= anchors[:, 2:] * 1.5 + 1e-3).all()


def test_free_boxes_stay_finite_whatever_is_answered():
    anchors = ANCHORS.over(64, 64)
    for answer in (1e30, -1e30):
        assert torch.isfinite(
            decoded(torch.full((len(anchors), 4), answer), anchors, bounded=False)[:, 2:]
        ).all()


@settings(max_examples=40)
@given(count=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_each_anchor_is_for_the_box_it_overlaps_most_and_each_box_has_one_while_there_are_any(count, seed):
    boxes, anchors = _boxes(count, seed), ANCHORS.over(64, 64)
    overlaps = box_iou(box_convert(anchors, "cxcywh", "xyxy"), boxes)
    owner = owners(anchors, boxes)
    given_away = owner >= 0
    for box in set(range(count)) - set(owner.tolist()):  # its anchors are all what others have left of theirs
        assert given_away[overlaps[:, box] > 0].all()
    assert (overlaps[given_away, owner[given_away]] > 0).all()
    # the best pair of all is together, and an anchor that was not given away overlaps nothing well
    best = int(overlaps.flatten().argmax())
    assert int(owner[best // count]) == best % count
    assert (overlaps[~given_away].amax(dim=1) < MATCHED).all()


def test_boxes_that_want_the_same_anchor_get_the_next_best():
    anchors = torch.tensor([[8.0, 8, 16, 16], [24.0, 8, 16, 16], [60.0, 60, 4, 4]])
    boxes = torch.tensor([[1.0, 0, 17, 16], [0.0, 0, 16, 16]])
    assert owners(anchors, boxes).tolist() == [1, 0, -1]


def test_equal_boxes_each_have_an_anchor_while_there_are_any():
    anchors = torch.tensor([[8.0, 8, 16, 16], [10.0, 8, 16, 16]])
    same = torch.tensor([[0.0, 0, 16, 16]] * 3)
    assert owners(anchors, same).tolist() == [0, 1]
    assert owners(anchors, same[:0]).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("sizes", "tile", "grids"),
    [
        ([[32, 32]], 256, [8]),
        ([[16, 64], [10, 10], [100, 100]], 256, [26, 8, 3]),
        ([[1, 1]], 64, [16]),
        ([[900, 900], [30, 33], [31, 32]], 64, [2, 1]),
    ],
)
def test_grids_fit_boxes_by_their_area(sizes, tile, grids):
    assert fitting_grids(sizes, tile) == grids


@pytest.mark.parametrize(
    ("sizes", "tile", "grids"),
    [
        ([[35, 35]], 256, [26]),  # cells of 10 pixels
        ([[35, 35], [40, 40]], 256, [26]),  # near enough for the zooms of one grid
        ([[14, 14], [35, 35], [140, 140]], 256, [64, 26, 6]),
        ([[3, 3]], 64, [16]),
    ],
)
def test_dense_grids_have_several_cells_across_a_box(sizes, tile, grids):
    assert dense_grids(sizes, tile) == grids


@given(sides=st.lists(st.floats(14, 250), min_size=1, max_size=3))
def test_wherever_a_box_is_some_anchor_of_dense_grids_overlaps_it_well(sides):
    tile = 256
    anchors = SsdAnchors(
        tile=tile,
        grids=tuple(dense_grids([[s, s] for s in sides], tile)),
        zooms=DENSE_ZOOMS,
        ratios=((1.0, 1.0),),
    )
    standing = box_convert(anchors.over(tile, tile), "cxcywh", "xyxy")
    for side in sides:
        corner = torch.rand(20, 2, generator=torch.Generator().manual_seed(int(side))) * (tile - side)
        boxes = torch.cat([corner, corner + side], dim=1)
        assert (box_iou(standing, boxes).amax(dim=0) > MATCHED).all()
