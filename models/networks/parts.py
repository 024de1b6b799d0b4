"""What a network answers in training beside its logits: side outputs, and scores of single points."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Logits that the loss is taken of, and how much it counts."""

    logits: Tensor
    """(N, K, H, W); (N, K, P, 1) for points."""
    weight: float = 1.0
    """Factor of this part's loss."""
    at: Tensor | None = None
    """(N, P, 2) where the points are, x before y, shares of width and height in 0..1. None: every pixel."""

    def target(self, targets: Tensor) -> Tensor:
        """Those of the targets (N, H, W) that belong to the logits."""
        if self.at is None:
            return targets
        height, width = targets.shape[1:]
        columns = (self.at[..., 0] * width).long().clamp(0, width - 1)  # (N, P)
        rows = (self.at[..., 1] * height).long().clamp(0, height - 1)
        chips = torch.arange(len(targets), device=targets.device).unsqueeze(1)
        return targets[chips, rows, columns].unsqueeze(-1)  # (N, P, 1)


def training_parts(answer: Any) -> list[Part]:
    """What a network in training mode answered: logits, or a list of parts."""
    return [Part(answer)] if isinstance(answer, Tensor) else list(answer)
