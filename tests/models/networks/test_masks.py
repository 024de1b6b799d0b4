import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from rasterloom.models.networks.masks import GridMasks, Held, PointRendMasks, drawn

SIZE = (20, 24)
KINDS = (GridMasks, PointRendMasks)


def _parts(kind):
    torch.manual_seed(0)
    branch = kind(levels=2, width=8, channels=8, classes=3)
    maps = {"0": torch.randn(2, 8, 5, 6), "1": torch.randn(2, 8, 3, 3)}
    return branch, maps


sides = st.tuples(st.integers(0, 15), st.integers(0, 15), st.integers(1, 9), st.integers(1, 9))


@given(sides)
def test_a_full_grid_draws_the_pixels_whose_centres_are_in_the_box(side):
    left, top, wide, high = side
    box = torch.tensor([[left, top, left + wide, top + high]]).float() + 0.2
    found = drawn(torch.ones(1, 28, 28), box, SIZE)[0].numpy()
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    x0, y0, x1, y1 = box[0].tolist()
    np.testing.assert_array_equal(found, (cols >= x0) & (cols < x1) & (rows >= y0) & (rows < y1))


def test_a_grid_of_a_cell_for_each_pixel_is_drawn_as_it_is():
    grid = (torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    found = drawn(grid, torch.tensor([[3.0, 5.0, 9.0, 11.0]]), SIZE)[0]
    assert torch.equal(found[5:11, 3:9], grid[0] > 0)
    assert found.sum() == grid.sum()


def test_a_box_that_reaches_beyond_the_image_is_drawn_where_the_image_is():
    found = drawn(torch.ones(1, 4, 4), torch.tensor([[-5.0, -5.0, 3.0, 2.0]]), SIZE)[0]
    assert found[:2, :3].all()
    assert found.sum() == 6


def test_a_higher_threshold_draws_less():
    grid = torch.linspace(0, 1, 16).reshape(1, 4, 4)
    box = torch.tensor([[0.0, 0.0, 20.0, 20.0]])
    low, high = drawn(grid, box, SIZE, threshold=0.2), drawn(grid, box, SIZE, threshold=0.8)
    assert 0 < high.sum() < low.sum()


def _held():
    truth = torch.zeros(1, *SIZE, dtype=torch.uint8)
    truth[0, 4:12, 6:10] = 1  # the left half of its box
    box = torch.tensor([[6.0, 4.0, 14.0, 12.0]])
    return Held(boxes=[box], labels=torch.tensor([1]), truths=[truth], matched=[torch.tensor([0])])


def test_the_truth_over_a_region_is_cut_out_where_the_region_is():
    grid = _held().grids(4)[0]
    torch.testing.assert_close(grid[:, 0], torch.ones(4))
    torch.testing.assert_close(grid[:, 3], torch.zeros(4))
    points = torch.tensor([[[0.05, 0.5], [0.45, 0.99], [0.55, 0.5], [0.99, 0.0]]])
    assert _held().at(points).tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_each_box_gets_probabilities_whatever_the_others_are(kind):
    branch, maps = _parts(kind)
    maps = {name: each[:1] for name, each in maps.items()}
    boxes = torch.tensor([[1.0, 2.0, 12.0, 15.0], [6.0, 4.0, 14.0, 12.0]])
    labels = torch.tensor([1, 3])
    with torch.no_grad():
        both = branch.eval()(maps, boxes, labels, SIZE)
        alone = branch(maps, boxes[1:], labels[1:], SIZE)
        none = branch(maps, boxes[:0], labels[:0], SIZE)
    assert ((both >= 0) & (both <= 1)).all()
    torch.testing.assert_close(both[1:], alone)
    assert len(none) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_tells_each_region_its_own_object(kind):
    branch, maps = _parts(kind)
    held = _held()
    boxes, matched, labels = [held.boxes[0]] * 2, held.matched * 2, [torch.tensor([1]), torch.tensor([0])]
    targets = [{"masks": held.truths[0]}] * 2
    optimizer = torch.optim.AdamW(branch.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = branch.loss(maps, boxes, matched, labels, targets, SIZE)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    with torch.no_grad():
        found = branch.eval()(
            {n: each[:1] for n, each in maps.items()}, held.boxes[0], torch.tensor([1]), SIZE
        )
    pixels = drawn(found, held.boxes[0], SIZE)[0]
    assert (pixels == (held.truths[0][0] > 0)).float().mean() > 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_without_regions_the_loss_is_nothing_for_every_weight(kind):
    branch, maps = _parts(kind)
    nothing = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2
    loss = branch.loss(maps, nothing[0], nothing[1], nothing[1], [{"masks": torch.zeros(0, *SIZE)}] * 2, SIZE)
    loss.backward()
    assert loss == 0
    assert all(p.grad is not None and not p.grad.any() for p in branch.parameters())
