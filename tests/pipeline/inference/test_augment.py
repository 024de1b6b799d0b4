"""The eight ways to lay a chip on itself are different, and each can be undone."""

import itertools

import pytest
import torch

from rasterloom.pipeline.inference.augment import DIHEDRAL, merged


def test_each_turn_is_undone_and_no_two_are_alike() -> None:
    images = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    assert all(torch.equal(turn.undo(turn.apply(images)), images) for turn in DIHEDRAL)
    turned = [turn.apply(images) for turn in DIHEDRAL]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(turned, 2))


@pytest.mark.parametrize(("policy", "expected"), [("mean", 1.5), ("max", 3.0), ("min", 0.0)])
def test_predictions_are_turned_back_before_they_are_merged(policy: str, expected: float) -> None:
    def corner(images: torch.Tensor) -> torch.Tensor:
        """Sees nothing but where its own upper-left pixel is."""
        found = torch.zeros_like(images)
        found[..., 0, 0] = 6.0 if policy == "mean" else 3.0
        return found

    found = merged(corner, torch.zeros(1, 1, 4, 4), policy)[0, 0]
    corners = found[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.equal(corners, torch.full((4,), expected))
    assert found[1:3, 1:3].abs().sum() == 0
