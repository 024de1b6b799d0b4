"""Mild changes of light."""

import numpy as np
import pytest
import torch

from rasterloom.pipeline.datasets.augment import Augmentation
from rasterloom.pipeline.datasets.lots import Lot


def numbers(chips, bands, *, seed=0):
    return Lot(seed).numbers(np.arange(chips), np.zeros(chips, int), 2 + bands)


def test_light_changes_stay_within_their_strength_and_repeat_with_the_seed():
    augmentation = Augmentation(brightness=0.2, contrast=0.1, band=0.05)
    factor, shift = augmentation.light(numbers(500, 3, seed=3))
    assert factor.shape == shift.shape == (500, 3, 1, 1)
    assert factor.min() >= 0.9
    assert factor.max() <= 1.1
    assert shift.abs().max() <= 0.25
    assert shift.std() > 0.05
    assert (shift.std(dim=1) > 0).all()
    again = augmentation.light(numbers(500, 3, seed=3))
    assert torch.equal(again[0], factor)
    assert torch.equal(again[1], shift)


@pytest.mark.parametrize("strength", ["brightness", "contrast", "band"])
def test_no_strength_means_no_change(strength):
    none = {"brightness": 0.0, "contrast": 0.0, "band": 0.0}
    factor, shift = Augmentation(**none).light(numbers(4, 2))
    assert (factor == 1).all()
    assert (shift == 0).all()
    factor, shift = Augmentation(**{**none, strength: 0.5}).light(numbers(4, 2))
    assert not ((factor == 1).all() and (shift == 0).all())


def test_numbers_belong_to_the_chip_and_not_to_the_batch():
    chips, visits = np.array([4, 9, 2]), np.array([0, 1, 0])
    together = Lot(7, 3).numbers(chips, visits, 5)
    for place in range(3):
        one = slice(place, place + 1)
        assert (Lot(7, 3).numbers(chips[one], visits[one], 5) == together[one]).all()
    for other in (Lot(8, 3), Lot(7, 4)):
        assert (other.numbers(chips, visits, 5) != together).all()
    assert (Lot(7, 3).numbers(chips, visits + 1, 5) != together).all()


def test_numbers_are_spread_evenly():
    drawn = Lot(0).numbers(np.arange(4000), np.zeros(4000, int), 6)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    np.testing.assert_allclose(drawn.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(drawn.T) - np.eye(6), 0, atol=0.06)
