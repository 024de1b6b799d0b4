"""Two dates of the same ground and what changed between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from rasterloom.models.contract import Task
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.moving import Seen
from rasterloom.pipeline.datasets.pictures import chip_picture, class_colors, overlay_classes, short_title

ChangeBatch = tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]
"""Normalised images of both dates, and class positions (N, H, W) int64."""


@final
@dataclass(frozen=True)
class Change(Form):
    """Pairs of images and the class positions of their pixels."""

    task = Task.CHANGE
    parts = frozenset({"masks", "images2"})
    panels = 3

    def join(self, seen: Seen) -> ChangeBatch:
        """``((images, images2), masks)``."""
        assert seen.images2 is not None
        assert seen.masks is not None
        return (seen.images, seen.images2), seen.masks

    def draw(
        self, panels: Sequence[Any], batch: Any, legend: Legend, *, alpha: float = 0.45, **stretch: Any
    ) -> None:
        """Before, after with the changes laid over it, and the changes alone."""
        (before, after), targets = batch
        for number in range(min(len(before), len(panels) // 3)):
            first, second, third = panels[3 * number : 3 * number + 3]
            chip_picture(first, before[number].numpy(), legend.bands, **stretch)
            chip_picture(second, after[number].numpy(), legend.bands2, **stretch)
            target = targets[number].numpy()
            overlay_classes(second, target, legend.classes, alpha=alpha)
            third.imshow(class_colors(target, legend.classes), interpolation="nearest")
            for panel, title in zip((first, second, third), ("before", "after", "change"), strict=True):
                short_title(panel, title)
