"""From whatever a foreign detector takes and returns to a list of what is in each image."""

from typing import Any, final

import torch
from torch import Tensor, nn

FORMS = ("batch", "list")
"""What detectors take: one tensor (N, C, H, W), or a list of (C, H, W)."""


@final
class ObjectOutputs(nn.Module):
    """A detector of any origin that takes (N, C, H, W) float32 and returns one entry for each image.

    TorchScript made of torchvision's detectors returns losses and things; the things are taken.
    """

    def __init__(self, inner: nn.Module, *, images: str = "batch") -> None:
        """Wrap ``inner``, which is kept as it is; ``images`` is one of FORMS."""
        super().__init__()
        self.inner = inner
        self.images = images
        weights = (p.dtype for p in inner.parameters() if p.is_floating_point())
        self.input_dtype = next(weights, torch.float32)

    def forward(self, images: Tensor) -> Any:
        """What the network has found in (N, C, H, W) images."""
        given = images.to(self.input_dtype)
        found = self.inner(given if self.images == "batch" else list(given))
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], list):
            return found[1]
        return found
