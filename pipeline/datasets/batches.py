"""The batches of an epoch, read and prepared one ahead of the training."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from rasterloom.models.contract import Normalization
from rasterloom.pipeline.datasets.augment import Augmentation, Turns, Views, centre_views, draw_views
from rasterloom.pipeline.datasets.pixels import PixelChips, RawBatch

PixelBatch = tuple[torch.Tensor, torch.Tensor]
"""Normalised images (N, C, H, W) float32 and class positions (N, H, W) int64."""
Transform = Callable[[torch.Tensor, torch.Tensor], PixelBatch]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How raw chips become what the network sees."""

    normalization: Normalization
    size: tuple[int, int] | None
    """Height and width of the window that is cut from each chip; None takes whole chips."""
    random: bool
    """Whether the window lies anywhere (training) or in the middle (validation)."""
    augmentation: Augmentation | None = None
    transform: Transform | None = None
    """The caller's own change, applied to the normalised batch."""

    def __call__(self, raw: RawBatch, generator: torch.Generator, device: torch.device) -> PixelBatch:
        """A batch on ``device``; images are laid out channels last."""
        views = self._views(raw, generator)
        images = _moved(views.of(raw.images), device).to(torch.float32, memory_format=torch.channels_last)
        targets = _moved(views.of(raw.masks), device).to(torch.int64)
        factor, shift = (t.to(device) for t in self._light(images.shape[:2], generator))
        images = images.mul_(factor).add_(shift)
        return self.transform(images, targets) if self.transform else (images, targets)

    def _views(self, raw: RawBatch, generator: torch.Generator) -> Views:
        chip = (raw.images.shape[-2], raw.images.shape[-1])
        size = self.size or chip
        if not self.random:
            return centre_views(len(raw), chip=chip, size=size)
        turns = self.augmentation.turns if self.augmentation else Turns.NONE
        return draw_views(len(raw), chip=chip, size=size, turns=turns, generator=generator)

    def _light(self, shape: Sequence[int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor and shift, (1 or N, C, 1, 1): normalisation and changes of light in one step."""
        mean, std = (
            torch.tensor(values, dtype=torch.float64).reshape(1, -1, 1, 1)
            for values in (self.normalization.mean, self.normalization.std)
        )
        factor, shift = 1 / std, -mean / std
        if self.augmentation:
            contrast, light = self.augmentation.light((shape[0], shape[1]), generator)
            factor, shift = factor * contrast, shift * contrast + light
        return factor.float(), shift.float()


_TORCH_TYPES = tuple(np.dtype(t) for t in ("uint8", "int8", "int16", "int32", "int64", "float32"))
"""Types that torch converts on every device; others become float32, as the network sees them, before."""


def _moved(array: np.ndarray, device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array if array.dtype in _TORCH_TYPES else array.astype(np.float32))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class EpochOrder(Sampler[list[int]]):
    """Positions batch by batch: shuffled anew each epoch, or in order."""

    def __init__(
        self, count: int, *, batch_size: int, seed: int, shuffle: bool, iterations: int | None = None
    ) -> None:
        """Plan the batches.

        Parameters
        ----------
        count
            Number of chips, 1 or more.
        batch_size
            Chips in a batch. The last one holds the rest; a rest of one chip joins the batch before it when
            shuffled, because batch statistics need two.
        iterations
            Batches in an epoch. None is one pass over the chips; more go round again.
        """
        self.count, self.batch_size, self.seed = count, min(batch_size, count), seed
        self.shuffle, self.iterations = shuffle, iterations
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The next pass is that of ``epoch``: the same one for the same seed and epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.iterations is not None:
            return self.iterations
        full, rest = divmod(self.count, self.batch_size)
        return full + int(rest > (1 if self._joins else 0))

    def __iter__(self) -> Iterator[list[int]]:
        if self.iterations is not None:
            yield from self._round_and_round(self.iterations)
            return
        order, last = self._permutation(0), len(self) - 1
        for number in range(last + 1):
            stop = None if number == last else (number + 1) * self.batch_size
            yield order[number * self.batch_size : stop].tolist()

    @property
    def _joins(self) -> bool:
        return self.shuffle and self.count > self.batch_size

    def _permutation(self, turn: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng((self.seed, self.epoch, turn)).permutation(self.count)

    def _round_and_round(self, iterations: int) -> Iterator[list[int]]:
        waiting, turn = np.zeros(0, np.int64), 0
        for _ in range(iterations):
            while len(waiting) < self.batch_size:
                waiting, turn = np.concatenate([waiting, self._permutation(turn)]), turn + 1
            yield waiting[: self.batch_size].tolist()
            waiting = waiting[self.batch_size :]


class Batches:
    """An iterable of prepared batches; each pass reads one batch ahead in a thread.

    The same seed and epoch give the same batches, whatever the number of workers.
    """

    def __init__(
        self,
        chips: PixelChips,
        *,
        order: EpochOrder,
        prepare: Preparation,
        seed: int,
        workers: int = 0,
        device: torch.device | None = None,
        collate: Callable[[Any], Any] | None = None,
    ) -> None:
        """Plan the passes; nothing is read yet.

        Parameters
        ----------
        workers
            Processes that read chips. 0 reads in this process. They are started by a fork server, because
            storage handles do not survive a plain fork.
        collate
            The caller's own joining of samples ``(image (C, H, W), mask (H, W))``, numpy arrays in the
            store's units, to a pair of arrays.
        """
        self.batch_sampler = order
        """Lightning sets the epoch here."""
        self.device = device or torch.device("cpu")
        self._prepare, self._seed = prepare, seed
        self._loader = DataLoader(
            chips,
            batch_sampler=order,
            collate_fn=collate or _unchanged,
            num_workers=workers,
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(seed),
        )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[PixelBatch]:
        generator = torch.Generator().manual_seed(_mixed(self._seed, self.batch_sampler.epoch))
        raw = iter(self._loader)
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as ahead:
            waiting = ahead.submit(self._next, raw, generator)
            while (batch := waiting.result()) is not None:
                waiting = ahead.submit(self._next, raw, generator)
                yield batch

    def _next(self, raw: Iterator[Any], generator: torch.Generator) -> PixelBatch | None:
        chips = next(raw, None)
        if chips is None:
            return None
        batch = chips if isinstance(chips, RawBatch) else RawBatch(*(np.asarray(part) for part in chips))
        return self._prepare(batch, generator, self.device)


def _unchanged(batch: Any) -> Any:
    return batch


def _mixed(seed: int, epoch: int) -> int:
    """One 63-bit seed from two numbers, far apart for neighbours."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0] >> 1)
