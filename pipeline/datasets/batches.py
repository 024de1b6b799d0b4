"""The batches of an epoch, read and prepared one ahead of the training."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from rasterloom.pipeline.datasets.lots import Lot
from rasterloom.pipeline.datasets.order import Order
from rasterloom.pipeline.datasets.pixels import PixelBatch as PixelBatch
from rasterloom.pipeline.datasets.preparation import Preparation
from rasterloom.pipeline.datasets.samples import Chips, RawBatch


class Batches:
    """An iterable of prepared batches; each pass reads one batch ahead in a thread.

    The same seed and epoch give the same batches, whatever the number of workers.
    """

    def __init__(
        self,
        chips: Chips,
        *,
        order: Order,
        prepare: Preparation,
        seed: int,
        workers: int = 0,
        device: torch.device | None = None,
    ) -> None:
        """Plan the passes; nothing is read yet.

        Parameters
        ----------
        workers
            Processes that read chips. 0 reads in this process. They are started by a fork server, because
            storage handles do not survive a plain fork.
        """
        self.batch_sampler = order
        """Lightning sets the epoch here."""
        self.device = device or torch.device("cpu")
        self._prepare, self._seed, self._count = prepare, seed, len(chips)
        self._loader = DataLoader(
            chips,
            batch_sampler=order,
            collate_fn=_unchanged,
            num_workers=workers,
            multiprocessing_context="forkserver" if workers else None,
            persistent_workers=workers > 0,
            generator=torch.Generator().manual_seed(seed),
        )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        passing = _Pass(self._prepare, Lot(self._seed, self.batch_sampler.epoch), self._count, self.device)
        raw = iter(self._loader)
        first, then = (passing.ahead, _unchanged) if self._prepare.ahead else (_unchanged, passing.here)
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as ahead:
            waiting = ahead.submit(_next, raw, first)
            while (batch := waiting.result()) is not None:
                waiting = ahead.submit(_next, raw, first)
                yield then(batch)


class _Pass:
    """One pass over the chips: knows how often it has come by each."""

    def __init__(self, prepare: Preparation, lot: Lot, count: int, device: torch.device) -> None:
        self._prepare, self._lot, self._device = prepare, lot, device
        self._visits = np.zeros(count, np.int64)
        self._batch = 0

    def ahead(self, raw: RawBatch) -> Any:
        """The next batch, prepared without torch's own random numbers."""
        visits = self._visits[raw.places]
        # a chip that is twice in one batch counts on within it
        order = np.argsort(raw.places, kind="stable")
        same = np.concatenate([[0], np.cumsum(np.diff(raw.places[order]) != 0)]) if len(raw) else order
        earlier = np.empty(len(raw), np.int64)
        earlier[order] = np.arange(len(raw)) - np.searchsorted(same, same)
        self._visits += np.bincount(raw.places, minlength=len(self._visits))
        return self._prepare(raw, self._lot, visits + earlier, self._device)

    def here(self, raw: RawBatch) -> Any:
        """The next batch; what the caller's code draws depends on seed, epoch and batch alone."""
        seed, self._batch = self._lot.seed_of(self._batch), self._batch + 1
        devices = [self._device.index or 0] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            return self.ahead(raw)


def _next(raw: Iterator[RawBatch], prepare: Any) -> Any:
    chips = next(raw, None)
    return None if chips is None else prepare(chips)


def _unchanged(batch: Any) -> Any:
    return batch
