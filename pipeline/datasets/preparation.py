"""From chips as they are stored to batches as a network takes them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from rasterloom.models.contract import Normalization
from rasterloom.pipeline.datasets.augment import Augmentation
from rasterloom.pipeline.datasets.form import Form
from rasterloom.pipeline.datasets.lots import Lot
from rasterloom.pipeline.datasets.moving import Seen, moved
from rasterloom.pipeline.datasets.pixels import Pixels
from rasterloom.pipeline.datasets.samples import RawBatch
from rasterloom.pipeline.datasets.transforms import Transform, moving_transform
from rasterloom.pipeline.datasets.views import NUMBERS, Views, centre_views, draw_views

_SECOND = 1 << 32
"""Added to the places of chips whose second images are drawn for apart."""


@dataclass(frozen=True)
class Scaling:
    """How pixels become what the network sees."""

    normalization: Normalization
    """In the chips' pixel units, one number for each band."""
    ranges: tuple[tuple[float, ...], tuple[float, ...]]
    """Lowest and highest value of each band: 0 and 1 for transforms of torchvision and kornia."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How raw chips become batches."""

    scaling: Scaling
    scaling2: Scaling | None = None
    """Of second images."""
    form: Form = field(default_factory=Pixels)
    size: tuple[int, int] | None
    """Height and width of the window that is cut from each chip; None takes whole chips."""
    random: bool
    """Whether the window lies anywhere (training) or in the middle (validation)."""
    resize: tuple[int, int] | None = None
    """Height and width that each chip is brought to before that."""
    augmentation: Augmentation | None = None
    transform: Transform | None = None
    """The caller's own change."""
    collate: Callable[[list[Any]], Any] | None = None
    """The caller's own joining of prepared samples."""

    @property
    def ahead(self) -> bool:
        """Whether batches may be prepared beside the training: the caller's code may draw from torch's own
        random numbers, which training draws from too."""
        return self.transform is None and self.collate is None

    def __call__(self, raw: RawBatch, lot: Lot, visits: np.ndarray, device: torch.device) -> Any:
        """A batch on ``device``; images are laid out channels last.

        Parameters
        ----------
        lot
            Decides everything random, together with the places of the chips and ``visits``.
        visits
            (n,) how many times this epoch has come by each chip before.
        """
        views, views2 = self._views(raw, lot, visits)
        seen = moved(raw, views, views2, resize=self.resize, device=device)
        mover = moving_transform(self.transform)
        if mover is not None:
            seen = self._outside(mover(self._inside(seen)))
        batch = self.form.join(self._normalised(seen, raw, lot, visits))
        if self.transform is not None and mover is None:
            batch = self.transform(*batch)
        return batch if self.collate is None else self.collate(samples_of(batch, len(raw)))

    def _views(self, raw: RawBatch, lot: Lot, visits: np.ndarray) -> tuple[Views, Views]:
        views = self._some_views(raw.images, raw.limits, lot.numbers(raw.places, visits, NUMBERS))
        if raw.limits2 is None or raw.images2 is None:
            return views, views
        numbers = lot.numbers(raw.places + _SECOND, visits, NUMBERS)
        return views, self._some_views(raw.images2, raw.limits2, numbers)

    def _some_views(self, images: np.ndarray, limits: np.ndarray, numbers: np.ndarray) -> Views:
        chip = (images.shape[-2], images.shape[-1])
        if self.resize is not None:
            chip, limits = self.resize, np.tile(np.array(self.resize), (len(images), 1))
        size = self.size or self.form.window(chip)
        if self.size is None:
            limits = np.tile(np.array(chip), (len(images), 1))  # whole chips, filled up or not
        if not self.random:
            return centre_views(limits=limits, size=size)
        return draw_views(numbers, limits=limits, size=size, augmentation=self.augmentation)

    def _normalised(self, seen: Seen, raw: RawBatch, lot: Lot, visits: np.ndarray) -> Seen:
        images = self._scaled(seen.images, self.scaling, raw.places, lot, visits)
        if seen.images2 is None:
            return replace(seen, images=images)
        # two dates, or two sensors, are not equally bright: each gets its own light
        second = self._scaled(seen.images2, self.scaling2 or self.scaling, raw.places + _SECOND, lot, visits)
        return replace(seen, images=images, images2=second)

    def _scaled(
        self, images: torch.Tensor, scaling: Scaling, places: np.ndarray, lot: Lot, visits: np.ndarray
    ) -> torch.Tensor:
        """Normalisation and changes of light in one step."""
        mean, std = (_per_band(v) for v in (scaling.normalization.mean, scaling.normalization.std))
        factor, shift = 1 / std, -mean / std
        if self.augmentation:
            numbers = lot.numbers(places, visits, NUMBERS + 2 + images.shape[1])[:, NUMBERS:]
            contrast, light = self.augmentation.light(numbers)
            factor, shift = factor * contrast, shift * contrast + light
        factor, shift = factor.float().to(images.device), shift.float().to(images.device)
        # band by band first, channels last then: the other way round takes ten times as long on the CPU
        return images.mul_(factor).add_(shift).contiguous(memory_format=torch.channels_last)

    def _inside(self, seen: Seen) -> Seen:
        """Images from 0 to 1."""
        return self._each(seen, lambda images, low, high: ((images - low) / (high - low)).clamp_(0, 1))

    def _outside(self, seen: Seen) -> Seen:
        """Images in their own units again."""
        return self._each(seen, lambda images, low, high: images * (high - low) + low)

    def _each(self, seen: Seen, change: Callable[..., torch.Tensor]) -> Seen:
        def changed(images: torch.Tensor, scaling: Scaling) -> torch.Tensor:
            low, high = (_per_band(v).float().to(images.device) for v in scaling.ranges)
            return change(images, low, high)

        second = seen.images2
        return replace(
            seen,
            images=changed(seen.images, self.scaling),
            images2=None if second is None else changed(second, self.scaling2 or self.scaling),
        )


def samples_of(batch: Any, count: int) -> list[Any]:
    """A batch as its samples, each in the same shape without the first dimension."""
    return [_sample(batch, number) for number in range(count)]


def _sample(batch: Any, number: int) -> Any:
    if isinstance(batch, tuple):
        return tuple(_sample(part, number) for part in batch)
    if isinstance(batch, dict):
        return {name: _sample(part, number) for name, part in batch.items()}
    return batch[number]


def _per_band(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1)
