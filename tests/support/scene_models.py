"""Classifiers of whole chips by rule: the brightest band tells the class."""

from typing import Any

import torch
from torch import nn

from rasterloom.models import from_torch
from tests.support.scenes import CLASSES


class BrightestBand(nn.Module):
    """Logits from the mean of each band; the classes are those of ``tests.support.scenes``."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) of 0..255 -> (N, 3)."""
        return (images.mean(dim=(2, 3)) - 110.0) / 10.0


def colour_model(**changes: Any) -> Any:
    """A model of the rule; with ``multilabel=True`` every bright band is a class."""
    settings: dict[str, Any] = {"classes": CLASSES, "bands": 3, "tile_size": 32, "task": "scenes"}
    return from_torch(BrightestBand(), **(settings | changes))
