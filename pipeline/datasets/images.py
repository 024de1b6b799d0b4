"""Chips whose target is another image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch.nn import functional as F

from rasterloom.models.contract import Task
from rasterloom.pipeline.datasets.augment import Augmentation, Turns
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.moving import Seen
from rasterloom.pipeline.datasets.pictures import chip_picture, short_title

ImageBatch = tuple[torch.Tensor, torch.Tensor]
"""Normalised images and the images that they should become, (N, C, H, W) float32 each."""


def only_turned(turns: Turns) -> Augmentation:
    """Turns and mirrors: whatever else is done to a target would have to be learnt."""
    return replace(Augmentation(turns=turns), share=0.0, brightness=0.0, contrast=0.0, band=0.0)


@final
@dataclass(frozen=True)
class Pairs(Form):
    """Two images of each chip; of the same ground, or of other ground where they were not paired."""

    titles: tuple[str, str] = ("input", "target")

    task = Task.IMAGES
    parts = frozenset({"images2"})
    cut = False
    panels = 2

    def augmentation(self, turns: Turns) -> Augmentation:
        """Turns and mirrors alone."""
        return only_turned(turns)

    def join(self, seen: Seen) -> ImageBatch:
        """``(images, images2)``."""
        assert seen.images2 is not None
        return seen.images, seen.images2

    def draw(
        self, panels: Sequence[Any], batch: Any, legend: Legend, *, alpha: float = 0.45, **stretch: Any
    ) -> None:
        """Side by side."""
        draw_pairs(panels, batch, (legend.bands, legend.bands2), self.titles, **stretch)


@final
@dataclass(frozen=True)
class Sharpening(Form):
    """Images and coarser copies of them."""

    factor: float = 4.0
    """How many times coarser, above 1."""

    task = Task.IMAGES
    cut = False
    resizable = True
    panels = 2

    def augmentation(self, turns: Turns) -> Augmentation:
        """Turns and mirrors alone."""
        return only_turned(turns)

    def window(self, size: tuple[int, int]) -> tuple[int, int]:
        """As much of a chip as whole coarse pixels fit in, where the factor is a whole number."""
        if self.factor != int(self.factor):
            return size
        step = int(self.factor)
        height, width = (max(side // step * step, step) for side in size)
        return height, width

    def join(self, seen: Seen) -> ImageBatch:
        """``(coarse images, images)``; coarse ones are (N, C, H / factor, W / factor)."""
        size = [max(1, round(side / self.factor)) for side in seen.images.shape[-2:]]
        coarse = F.interpolate(seen.images, size, mode="bicubic", antialias=True)
        return coarse.contiguous(memory_format=torch.channels_last), seen.images

    def draw(
        self, panels: Sequence[Any], batch: Any, legend: Legend, *, alpha: float = 0.45, **stretch: Any
    ) -> None:
        """Side by side, at the same size."""
        draw_pairs(panels, batch, (legend.bands, legend.bands), ("coarse", "fine"), **stretch)


def draw_pairs(
    panels: Sequence[Any],
    batch: ImageBatch,
    bands: tuple[tuple[str, ...], tuple[str, ...]],
    titles: tuple[str, str],
    *,
    rgb_bands: Sequence[str | int] | None = None,
    **stretch: Any,
) -> None:
    """Pairs of images side by side.

    Parameters
    ----------
    rgb_bands
        Bands of the first images, and of the second ones where these have the same bands.
    """
    for number in range(min(len(batch[0]), len(panels) // 2)):
        for side in (0, 1):
            panel = panels[2 * number + side]
            shown = rgb_bands if bands[side] == bands[0] else None
            chip_picture(panel, batch[side][number].numpy(), bands[side], rgb_bands=shown, **stretch)
            short_title(panel, titles[side])
