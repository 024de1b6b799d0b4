"""Windows and forms of chips: everything moves the same way."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.datasets.augment import Augmentation, Turns
from rasterloom.pipeline.datasets.lots import Lot
from rasterloom.pipeline.datasets.views import NUMBERS, Views, centre_views, draw_views, turned

PLAIN = Augmentation(share=0.0)
STRONG = Augmentation(share=1.0, zoom=1.6, rotation=40.0)


def drawn(count, *, chip, size, augmentation=PLAIN, seed=0, limits=None):
    numbers = Lot(seed).numbers(np.arange(count), np.zeros(count, int), NUMBERS)
    limits = np.tile(np.array(chip), (count, 1)) if limits is None else limits
    return draw_views(numbers, limits=limits, size=size, augmentation=augmentation)


def test_the_eight_forms_are_all_turns_and_mirrors_of_a_square():
    square = np.arange(9).reshape(3, 3)
    expected = {np.rot90(m, k).tobytes() for m in (square, square[:, ::-1]) for k in range(4)}
    seen = {turned(torch.from_numpy(square), form).numpy().tobytes() for form in range(8)}
    assert seen == expected


@settings(max_examples=30)
@given(
    chip=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_views_are_windows_of_their_chip_and_masks_follow_images(chip, size, seed):
    masks = torch.arange(5 * chip[0] * chip[1]).reshape(5, *chip)
    images = torch.stack([masks, masks + 1000], dim=1)
    views = drawn(5, chip=chip, size=size, seed=seed)
    seen = views.of(masks, smooth=False)
    assert seen.shape == (5, *size)
    assert (views.of(images, smooth=True)[:, 0] == seen).all()
    assert (views.of(images, smooth=True)[:, 1] == seen + 1000).all()
    for number in range(5):
        row, col = (int(c - s / 2) for c, s in zip(views.centres[number], size, strict=True))
        window = masks[number, row : row + size[0], col : col + size[1]]
        assert (seen[number] == turned(window, int(views.forms[number]))).all()
        assert size[0] == size[1] or views.forms[number] < 4


@settings(max_examples=40)
@given(
    chip=st.tuples(st.integers(12, 30), st.integers(12, 30)),
    size=st.tuples(st.integers(6, 12), st.integers(6, 12)),
    seed=st.integers(0, 99),
)
def test_the_pixels_of_a_view_are_those_that_its_matrix_names(chip, size, seed):
    """Each pixel of a chip holds its own column and row, so that a view tells where it looked."""
    columns = torch.arange(chip[1]).expand(chip) + 0.5
    rows = torch.arange(chip[0])[:, None].expand(chip) + 0.5
    chips = torch.stack([columns, rows]).float().expand(6, 2, *chip)
    views = drawn(6, chip=chip, size=size, augmentation=STRONG, seed=seed)
    seen = views.of(chips, smooth=True).numpy()
    matrices, shifts = views.matrices()
    x, y = np.meshgrid(np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5)
    named = np.einsum("nij,jhw->nihw", matrices, np.stack([x, y])) + shifts[:, :, None, None]
    # half a pixel at the border has nothing to interpolate with
    inside = named.clip(0.5, np.array([chip[1], chip[0]])[None, :, None, None] - 0.5)
    np.testing.assert_allclose(seen, inside, atol=2e-3)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), side=st.integers(20, 40))
def test_no_view_looks_beyond_its_chip(seed, side):
    views = drawn(8, chip=(side, side + 3), size=(20, 20), augmentation=STRONG, seed=seed)
    matrices, shifts = views.matrices()
    corners = np.array([[0, 0], [20, 0], [0, 20], [20, 20]])
    there = np.einsum("nij,kj->nki", matrices, corners) + shifts[:, None]
    assert there.min() > -1e-6
    assert there[..., 0].max() < side + 3 + 1e-6
    assert there[..., 1].max() < side + 1e-6


@settings(max_examples=60)
@given(
    seed=st.integers(0, 9999),
    strong=st.booleans(),
    box=st.tuples(st.integers(2, 12), st.integers(2, 12), st.integers(4, 10), st.integers(4, 10)),
)
def test_a_moved_box_bounds_the_pixels_that_it_bounded_before(seed, strong, box):
    left, top, width, height = box
    chip = torch.zeros((1, 30, 30))
    chip[:, top : top + height, left : left + width] = 1
    views = drawn(1, chip=(30, 30), size=(24, 24), augmentation=STRONG if strong else PLAIN, seed=seed)
    moved = views.boxes(np.array([[left, top, left + width, top + height]], float), np.array([0]))[0]
    rows, cols = np.nonzero(views.of(chip, smooth=False)[0].numpy())
    if len(rows) == 0:
        return
    bounds = np.array([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])
    seen = moved.clip(0, 24)
    if strong:  # a pixel counts by its centre
        assert (seen[:2] <= bounds[:2] + 0.51).all()
        assert (seen[2:] >= bounds[2:] - 0.51).all()
    else:
        np.testing.assert_allclose(seen, bounds, atol=1e-9)


def test_every_place_and_form_comes_up():
    views = drawn(4000, chip=(6, 6), size=(4, 4))
    assert {tuple(c) for c in views.centres} == {(r + 2.0, c + 2.0) for r in range(3) for c in range(3)}
    assert set(views.forms) == set(range(8))
    assert np.bincount(views.forms).min() > 400


def test_zoom_and_rotation_reach_their_share_of_the_chips():
    views = drawn(2000, chip=(40, 40), size=(20, 20), augmentation=Augmentation(share=0.3))
    assert abs(views.resampled.mean() - 0.3) < 0.05
    assert np.abs(views.angles).max() <= 10
    assert np.abs(views.angles).max() > 9
    assert views.zooms.min() >= 1
    assert 1.1 < views.zooms.max() <= 1.15


def test_pictures_with_an_upside_are_only_mirrored():
    views = drawn(200, chip=(4, 4), size=(4, 4), augmentation=Augmentation(turns=Turns.MIRROR, share=0.0))
    assert set(views.forms) == {0, 1}


def test_chips_that_hold_less_than_a_window_are_seen_from_their_corner():
    limits = np.array([[3, 9], [9, 9]])
    views = drawn(2, chip=(9, 9), size=(5, 5), augmentation=STRONG, limits=limits)
    assert views.resampled.tolist() == [False, True]
    assert views.centres[0, 0] == 2.5


def test_the_middle_is_the_middle():
    chips = torch.zeros((2, 7, 9), dtype=torch.int64)
    chips[:, 3, 4] = 1
    views = centre_views(limits=np.array([[7, 9]] * 2), size=(1, 1))
    assert views.of(chips, smooth=False).tolist() == [[[1]], [[1]]]


def test_views_are_new_tensors():
    chips = torch.zeros((1, 4, 4), dtype=torch.int64)
    still = np.zeros(1, np.int64)
    Views(np.array([[2.0, 2.0]]), still, np.ones(1), np.zeros(1), (4, 4)).of(chips, smooth=False)[:] = 1
    assert not chips.any()


@pytest.mark.parametrize("smooth", [True, False])
def test_whole_pixels_keep_their_type_unless_they_are_computed(smooth):
    chips = torch.zeros((3, 2, 30, 30), dtype=torch.uint8)
    plain = drawn(3, chip=(30, 30), size=(8, 8))
    strong = drawn(3, chip=(30, 30), size=(8, 8), augmentation=STRONG)
    assert plain.of(chips, smooth=smooth).dtype == torch.uint8
    assert strong.of(chips, smooth=smooth).dtype == (torch.float32 if smooth else torch.uint8)
