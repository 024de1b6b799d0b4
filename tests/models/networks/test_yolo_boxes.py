import numpy as np
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.models.networks.anchors import shape_overlaps
from rasterloom.models.networks.yolo_boxes import ALIKE, YoloAnchors, fitting_shapes, responsible

SHAPES = [
    (round(s * w, 4), round(s * h, 4))
    for s in (6.0, 12.0, 24.0)
    for w, h in ((0.7, 1.4), (1.4, 0.7), (1.2, 1.2))
]


def _boxes(count, seed, height=64, width=96):
    generator = torch.Generator().manual_seed(seed)
    sides = torch.rand(count, 2, generator=generator) * 30 + 2
    corner = torch.rand(count, 2, generator=generator) * (torch.tensor([width, height]) - sides)
    return torch.cat([corner, corner + sides], dim=1)


def test_anchors_stand_head_by_head_row_by_row():
    anchors = YoloAnchors.over(SHAPES, 64, 96)
    assert len(anchors.boxes) == 3 * (8 * 12 + 4 * 6 + 2 * 3)
    assert anchors.strides.flatten().tolist() == [8.0] * 288 + [16.0] * 72 + [32.0] * 18
    assert anchors.corners[3:6].tolist() == [[1, 0]] * 3  # the next cell is to the right
    torch.testing.assert_close(anchors.shapes[-3:], torch.tensor(SHAPES[-3:]))
    torch.testing.assert_close(
        anchors.boxes[0], torch.tensor([4 - 2.1, 4 - 4.2, 4 + 2.1, 4 + 4.2])
    )  # 6 * 0.7 wide, 6 * 1.4 high


def test_answers_of_nothing_are_the_anchors_and_all_answers_keep_their_cell():
    anchors = YoloAnchors.over(SHAPES, 64, 64)
    torch.testing.assert_close(anchors.decoded(torch.zeros(len(anchors.boxes), 4)), anchors.boxes)
    answers = torch.randn(2, len(anchors.boxes), 4) * 100
    boxes = anchors.decoded(answers)
    assert torch.isfinite(boxes).all()
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2 / anchors.strides
    assert (centres >= anchors.corners - 1e-2).all()
    assert (centres <= anchors.corners + 1 + 1e-2).all()


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 25), seed=st.integers(0, 10**6))
def test_boxes_have_the_anchors_like_them_in_the_cells_of_their_centres(count, seed):
    boxes = _boxes(count, seed)
    anchors = YoloAnchors.over(SHAPES, 64, 96)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    alike = shape_overlaps(torch.tensor(SHAPES), boxes[:, 2:] - boxes[:, :2])
    wanted: dict[int, int] = {}
    for box in range(count):
        for place in range(len(anchors.boxes)):
            stride = float(anchors.strides[place])
            shape = SHAPES.index(tuple(round(side, 4) for side in anchors.shapes[place].tolist()))
            at_home = (centres[box] / stride).floor().tolist() == anchors.corners[place].tolist()
            own = alike[shape, box] > ALIKE or shape == int(alike[:, box].argmax())
            better = place not in wanted or alike[shape, box] > alike[shape, wanted[place]]
            if at_home and own and better:
                wanted[place] = box
    places, owners = responsible(SHAPES, boxes, 64, 96)
    assert dict(zip(places.tolist(), owners.tolist(), strict=True)) == wanted
    assert places.tolist() == sorted(places.tolist())


def test_a_box_whose_centre_is_on_the_far_side_has_the_last_cell():
    boxes = torch.tensor([[92.0, 60.0, 100.0, 68.0]])
    places, owners = responsible(SHAPES, boxes, 64, 96)
    anchors = YoloAnchors.over(SHAPES, 64, 96)
    assert len(places)
    assert owners.tolist() == [0] * len(places)
    for place in places.tolist():
        stride = float(anchors.strides[place])
        assert anchors.corners[place].tolist() == [96 / stride - 1, 64 / stride - 1]


@given(sides=st.lists(st.tuples(st.floats(2, 300), st.floats(2, 300)), min_size=1, max_size=40))
def test_each_head_has_anchors_like_the_boxes_its_cells_are_right_for(sides):
    sizes = np.array(sides)
    shapes = np.array(fitting_shapes(sizes))
    assert shapes.shape == (9, 2)
    longs, lengths = np.sqrt(sizes.prod(axis=1)), np.sqrt(shapes.prod(axis=1))
    for number, (least, most) in enumerate([(0, 32), (32, 64), (64, np.inf)]):
        own, mine = sizes[(longs >= least) & (longs < most)], shapes[3 * number : 3 * number + 3]
        if len(own):
            assert (mine >= own.min(axis=0) - 0.01).all()
            assert (mine <= own.max(axis=0) + 0.01).all()
        else:
            assert ((lengths[3 * number : 3 * number + 3] >= least) & (mine.max() < most)).all()
