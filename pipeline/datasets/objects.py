"""Chips with boxes or outlines of things."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from rasterloom.models.contract import Task
from rasterloom.pipeline.datasets.augment import Augmentation, Turns
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.moving import Seen, Target
from rasterloom.pipeline.datasets.pictures import chip_picture, overlay_objects

ObjectBatch = tuple[torch.Tensor, list[Target]]
"""Normalised images (N, C, H, W) float32 and the objects of each."""


@final
@dataclass(frozen=True)
class Boxes(Form):
    """Images and the objects in each."""

    outlines: bool = False
    """Whether the pixels of each object are wanted besides its box."""

    task = Task.OBJECTS
    parts = frozenset({"objects"})
    resizable = True

    def augmentation(self, turns: Turns) -> Augmentation:
        """Boxes alone are not rotated: the box around a rotated box is too large."""
        usual = Augmentation(turns=turns)
        return usual if self.outlines else replace(usual, rotation=0.0)

    def join(self, seen: Seen) -> ObjectBatch:
        """``(images, targets)``, a dictionary for each chip."""
        assert seen.objects is not None
        if self.outlines:
            return seen.images, seen.objects
        return seen.images, [{k: v for k, v in chip.items() if k != "masks"} for chip in seen.objects]

    def draw(
        self, panels: Sequence[Any], batch: Any, legend: Legend, *, alpha: float = 0.45, **stretch: Any
    ) -> None:
        """Boxes in the colours of their classes, outlines filled."""
        for panel, image, target in zip(panels, *batch, strict=False):
            chip_picture(panel, image.numpy(), legend.bands, **stretch)
            overlay_objects(panel, target, legend.object_classes, alpha=alpha)
