"""The losses of change against plain loops."""

import numpy as np
import pytest
import torch

from rasterloom.models.losses.change import balanced_contrastive_loss, kinds_loss


def batch(seed=0):
    rng = torch.Generator().manual_seed(seed)
    distance = 3 * torch.rand(2, 6, 7, generator=rng)
    target = torch.randint(-1, 3, (2, 6, 7), generator=rng)
    return distance, target


def naive(distance, target, margin):
    near, far = [], []
    for d, t in zip(distance.flatten().tolist(), target.flatten().tolist(), strict=True):
        if t == 0:
            near.append(d**2)
        elif t > 0:
            far.append(max(0.0, margin - d) ** 2)
    return (np.mean(near or [0.0]) + np.mean(far or [0.0])) / 2


@pytest.mark.parametrize("margin", [1.0, 2.0])
def test_changed_and_unchanged_pixels_count_for_half_each(margin):
    distance, target = batch()
    loss = balanced_contrastive_loss(distance, target, margin=margin)
    assert loss.item() == pytest.approx(naive(distance, target, margin))


@pytest.mark.parametrize("value", [-1, 0, 2])
def test_a_batch_of_one_sort_of_pixels_has_a_finite_loss_and_slope(value):
    distance, target = batch()
    distance.requires_grad_()
    loss = balanced_contrastive_loss(distance, torch.full_like(target, value), margin=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(naive(distance, torch.full_like(target, value), 2.0))
    assert torch.isfinite(distance.grad).all()
    assert (value < 0) == (torch.count_nonzero(distance.grad) == 0)


def test_more_unchanged_pixels_do_not_outweigh_the_changed_ones():
    distance, target = batch()
    more = torch.cat([distance, *[distance[:, :, :1]] * 20], dim=2)
    same = torch.where(target[:, :, :1] == 0, 0, -1)
    targets = torch.cat([target, *[same] * 20], dim=2)
    changed = target > 0
    parts = []
    for d, t in ((distance, target), (more, targets)):
        d = d.clone().requires_grad_()
        balanced_contrastive_loss(d, t, margin=2.0).backward()
        parts.append(d.grad[:, :, : distance.shape[2]][changed])
    torch.testing.assert_close(parts[0], parts[1])


def test_kinds_are_learnt_of_changed_pixels_alone():
    _, target = batch()
    logits = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1), requires_grad=True)
    loss = kinds_loss(logits, target)
    log = logits.detach()[:, 1:].log_softmax(1)
    terms = [-log[n, t - 1, r, c].item() for (n, r, c), t in np.ndenumerate(target.numpy()) if t > 0]
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-5)
    loss.backward()
    assert torch.count_nonzero(logits.grad[:, 0]) == 0
    assert torch.count_nonzero(logits.grad.abs().sum(1)[target <= 0]) == 0
    assert kinds_loss(logits, torch.zeros_like(target)).item() == 0
