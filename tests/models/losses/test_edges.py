"""Edges count as much as everything else together."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.models.losses.edges import balanced_edge_loss


def _plain(scores: torch.Tensor, target: torch.Tensor, other_weight: float) -> float:
    """The mean over edges and the mean over the others, put together."""
    chance = torch.sigmoid(scores.double())
    of_edges = -torch.log(chance[target == 1]).mean()
    of_others = -torch.log(1 - chance[target == 0]).mean()
    return float((of_edges + other_weight * of_others) / (1 + other_weight))


@given(seed=st.integers(0, 999), other_weight=st.sampled_from([1.0, 1.1, 3.0]))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_the_mean_over_edges_and_the_mean_over_the_rest(seed, other_weight):
    numbers = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 8, 9, generator=numbers)
    target = (torch.rand(2, 8, 9, generator=numbers) < 0.2).long()
    target[0, 0, :2] = torch.tensor([0, 1])  # one of each at least
    found = balanced_edge_loss(scores, target, other_weight=other_weight)
    assert float(found) == pytest.approx(_plain(scores, target, other_weight), rel=1e-4)


def test_pixels_without_a_label_count_for_nothing():
    scores = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(1))
    target = (scores[:, :, :4] > 0.5).long()
    padded = torch.cat([target, torch.full((1, 6, 2), -1)], dim=2)
    assert torch.isclose(balanced_edge_loss(scores, padded), balanced_edge_loss(scores[..., :4], target))
    assert float(balanced_edge_loss(scores, torch.full_like(padded, -1))) == 0.0


@pytest.mark.parametrize("label", [0, 1])
def test_a_batch_of_one_kind_alone_still_teaches(label):
    scores = torch.zeros(1, 4, 4, requires_grad=True)
    loss = balanced_edge_loss(scores, torch.full((1, 4, 4), label))
    loss.backward()
    assert loss.item() == pytest.approx(0.6931, abs=1e-3)
    assert (scores.grad.sign() == (-1 if label else 1)).all()


def test_half_precision_ends_at_the_loss():
    scores = torch.full((1, 64, 64), 3.0, dtype=torch.bfloat16)
    loss = balanced_edge_loss(scores, torch.ones(1, 64, 64, dtype=torch.int64))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0.04859, abs=1e-4)
