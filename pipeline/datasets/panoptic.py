"""Chips with a class for each pixel and the outlines of things."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from rasterloom.models.contract import Task
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.moving import Seen, Target
from rasterloom.pipeline.datasets.pictures import chip_picture, overlay_classes, overlay_objects

PanopticBatch = tuple[torch.Tensor, dict[str, Any]]
"""Normalised images, and ``masks`` (N, H, W) int64 with ``objects``, a list with those of each chip."""


@final
@dataclass(frozen=True)
class Panoptic(Form):
    """Images, class positions, and the objects in each."""

    n_masks: int = 30
    """Most objects of a chip: the largest ones."""

    task = Task.OBJECTS
    parts = frozenset({"masks", "objects"})
    panels = 2

    def join(self, seen: Seen) -> PanopticBatch:
        """``(images, {"masks": (N, H, W), "objects": [...]})``."""
        assert seen.objects is not None
        objects = [self._largest(chip) for chip in seen.objects]
        return seen.images, {"masks": seen.masks, "objects": objects}

    def draw(
        self, panels: Sequence[Any], batch: Any, legend: Legend, *, alpha: float = 0.45, **stretch: Any
    ) -> None:
        """The classes of the pixels, and beside them the objects."""
        images, targets = batch
        for number, (classes, things) in enumerate(zip(panels[::2], panels[1::2], strict=False)):
            if number == len(images):
                return
            image = images[number].numpy()
            for panel in (classes, things):
                chip_picture(panel, image, legend.bands, **stretch)
            overlay_classes(classes, targets["masks"][number].numpy(), legend.classes, alpha=alpha)
            overlay_objects(things, targets["objects"][number], legend.object_classes, alpha=alpha)

    def _largest(self, chip: Target) -> Target:
        if len(chip["labels"]) <= self.n_masks:
            return chip
        areas = chip["masks"].sum(dim=(1, 2), dtype=torch.int64)
        # among equals the first one, so that the choice repeats
        largest = torch.sort(areas, descending=True, stable=True).indices[: self.n_masks].sort().values
        return {name: values[largest] for name, values in chip.items()}
