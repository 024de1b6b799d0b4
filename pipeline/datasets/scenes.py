"""Chips with one label, or several, for the whole of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from rasterloom.models.contract import Task
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.moving import Seen
from rasterloom.pipeline.datasets.pictures import chip_picture, short_title

SceneBatch = tuple[torch.Tensor, torch.Tensor]
"""Normalised images, and class positions (N,) int64 or (N, K) float32, 1 where a class occurs."""


@final
@dataclass(frozen=True)
class Scenes(Form):
    """Images and what each shows."""

    several: bool = False
    """Whether a chip can be of several classes."""

    task = Task.SCENES
    parts = frozenset({"labels"})
    background = False
    resizable = True
    whole_labels = True

    @property
    def several_labels(self) -> bool:  # type: ignore[override] # a constant elsewhere
        return self.several

    def join(self, seen: Seen) -> SceneBatch:
        """``(images, labels)``."""
        assert seen.labels is not None
        return seen.images, seen.labels

    def draw(
        self, panels: Sequence[Any], batch: Any, legend: Legend, *, alpha: float = 0.45, **stretch: Any
    ) -> None:
        """The names of the classes above each chip."""
        for panel, image, label in zip(panels, *batch, strict=False):
            chip_picture(panel, image.numpy(), legend.bands, **stretch)
            places = label.nonzero().flatten().tolist() if self.several else [int(label)]
            short_title(panel, ", ".join(legend.classes[place].name for place in places) or "none")
