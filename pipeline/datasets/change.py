"""Two dates of the same ground and what changed between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from rasterloom.models.contract import Task
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.datasets.form import Form, Legend
from rasterloom.pipeline.datasets.moving import Seen
from rasterloom.pipeline.datasets.pictures import chip_picture, class_colors, overlay_classes, short_title
from rasterloom.pipeline.datasets.sources import ChipSource
from rasterloom.pipeline.rasters.statistics import BandStats

ChangeBatch = tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]
"""Normalised images of both dates, and class positions (N, H, W) int64."""


def stats_of_dates(source: ChipSource) -> BandStats:
    """Statistics of each band over the chips of both dates.

    One network sees both, so one scaling is for both: what differs between them must go on to differ.

    Raises
    ------
    StoreError
        If the dates differ in number of bands or pixel type, or lack statistics.
    """
    spec, second = source.spec, source.stats2
    if (len(spec.bands), spec.dtype) != (len(spec.bands2), spec.dtype2):
        raise StoreError(
            f"the earlier images have {len(spec.bands)} bands of {spec.dtype} and the later ones "
            f"{len(spec.bands2)} of {spec.dtype2}, and one network sees both: export rasters of the same "
            "bands and pixel type."
        )
    if second is None:
        raise StoreError(
            f"{source.stores[0].path} lacks the statistics of its second images: export it again."
        )
    return source.stats.merge(second)


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
