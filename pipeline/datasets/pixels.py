"""Chips with one class for each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from rasterloom.models.contract import Task
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.moving import Seen
from rasterloom.pipeline.datasets.pictures import chip_picture, overlay_classes

PixelBatch = tuple[torch.Tensor, torch.Tensor]
"""Normalised images (N, C, H, W) float32 and class positions (N, H, W) int64."""


@final
@dataclass(frozen=True)
class Pixels(Form):
    """Images and their class positions."""

    task = Task.PIXELS
    parts = frozenset({"masks"})

    def join(self, seen: Seen) -> PixelBatch:
        """``(images, masks)``: (N, C, H, W) float32 and (N, H, W) int64."""
        assert seen.masks is not None
        return seen.images, seen.masks

    def draw(
        self, panels: Sequence[Any], batch: Any, legend: Legend, *, alpha: float = 0.45, **stretch: Any
    ) -> None:
        """The classes laid over the image; pixels without a class stay clear."""
        for panel, image, target in zip(panels, *batch, strict=False):
            chip_picture(panel, image.numpy(), legend.bands, **stretch)
            overlay_classes(panel, target.numpy(), legend.classes, alpha=alpha)
