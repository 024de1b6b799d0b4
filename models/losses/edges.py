"""How far predicted edges are from the true ones, where edges are few among many other pixels."""

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_SHARE = 1e-3
"""Edges count as so many of all pixels at least, and at most as one less this: a batch without them still
learns that there are none."""


def balanced_edge_loss(scores: Tensor, target: Tensor, *, other_weight: float = 1.0) -> Tensor:
    """Cross-entropy in which edges count as much as all other pixels together; 0 where no pixel counts.

    Parameters
    ----------
    scores
        (N, H, W) logits of being an edge, any float type; computed in float32.
    target
        (N, H, W) int64: 1 on edges, 0 elsewhere. Negative ones count for nothing.
    other_weight
        Factor of the pixels that are no edges.

    References
    ----------
    Xie and Tu (2015), "Holistically-Nested Edge Detection", eq. 2, with the shares of the batch instead of
    those of one image, and the mean instead of the sum. ``other_weight`` is lambda of He et al. (2019),
    "Bi-Directional Cascade Network for Perceptual Edge Detection", eq. 8.
    """
    scores = scores.float()
    counts, edges = target >= 0, target > 0
    share = edges.sum() / counts.sum().clamp(min=1)
    share = share.clamp(LEAST_SHARE, 1 - LEAST_SHARE).to(scores)
    weights = torch.where(edges, 1 - share, other_weight * share) * counts
    entropy = F.binary_cross_entropy_with_logits(scores, edges.to(scores), reduction="none")
    return (entropy * weights).sum() / weights.sum().clamp(min=torch.finfo(scores.dtype).tiny)
