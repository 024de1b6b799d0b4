"""Windows and forms of chips."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.datasets.augment import Augmentation, Turns, Views, centre_views, draw_views, turned


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_eight_forms_are_all_turns_and_mirrors_of_a_square():
    square = np.arange(9).reshape(3, 3)
    expected = {np.rot90(m, k).tobytes() for m in (square, square[:, ::-1]) for k in range(4)}
    assert {turned(square, form).tobytes() for form in range(8)} == expected


@settings(max_examples=30)
@given(
    chip=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_views_are_windows_of_their_chip_and_masks_follow_images(chip, size, seed):
    masks = np.arange(5 * chip[0] * chip[1]).reshape(5, *chip)
    images = np.stack([masks, masks + 1000], axis=1)
    views = draw_views(5, chip=chip, size=size, turns=Turns.ALL, generator=generator(seed))
    seen = views.of(masks)
    assert seen.shape == (5, *size)
    assert (views.of(images)[:, 0] == seen).all()
    assert (views.of(images)[:, 1] == seen + 1000).all()
    for number in range(5):
        row, col, form = views.rows[number], views.cols[number], int(views.forms[number])
        window = masks[number, row : row + size[0], col : col + size[1]]
        assert (seen[number] == turned(window, form)).all()
        assert size[0] == size[1] or form < 4


def test_every_place_and_form_comes_up():
    views = draw_views(4000, chip=(6, 6), size=(4, 4), turns=Turns.ALL, generator=generator())
    assert set(views.rows) == set(views.cols) == {0, 1, 2}
    assert set(views.forms) == set(range(8))
    assert np.bincount(views.forms).min() > 400


def test_pictures_with_an_upside_are_only_mirrored():
    views = draw_views(200, chip=(4, 4), size=(4, 4), turns=Turns.MIRROR, generator=generator())
    assert set(views.forms) == {0, 1}


def test_the_middle_is_the_middle():
    chips = np.zeros((2, 7, 9), int)
    chips[:, 3, 4] = 1
    assert centre_views(2, chip=(7, 9), size=(1, 1)).of(chips).tolist() == [[[1]], [[1]]]


def test_views_are_new_arrays():
    chips = np.zeros((1, 4, 4), int)
    Views(np.array([0]), np.array([0]), np.array([0]), (4, 4)).of(chips)[:] = 1
    assert not chips.any()


def test_light_changes_stay_within_their_strength_and_repeat_with_the_seed():
    augmentation = Augmentation(brightness=0.2, contrast=0.1, band=0.05)
    factor, shift = augmentation.light((500, 3), generator(3))
    assert factor.shape == shift.shape == (500, 3, 1, 1)
    assert factor.min() >= 0.9
    assert factor.max() <= 1.1
    assert shift.abs().max() <= 0.25
    assert shift.std() > 0.05
    assert (shift.std(dim=1) > 0).all()
    again = augmentation.light((500, 3), generator(3))
    assert torch.equal(again[0], factor)
    assert torch.equal(again[1], shift)


@pytest.mark.parametrize("strength", ["brightness", "contrast", "band"])
def test_no_strength_means_no_change(strength):
    none = {"brightness": 0.0, "contrast": 0.0, "band": 0.0}
    factor, shift = Augmentation(**none).light((4, 2), generator())
    assert (factor == 1).all()
    assert (shift == 0).all()
    factor, shift = Augmentation(**{**none, strength: 0.5}).light((4, 2), generator())
    assert not ((factor == 1).all() and (shift == 0).all())
