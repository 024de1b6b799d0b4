"""In which order an epoch visits the chips."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Sampler


class Order(Protocol):
    """Positions batch by batch, anew for each epoch."""

    @property
    def epoch(self) -> int: ...

    def set_epoch(self, epoch: int) -> None: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[Any]]: ...


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
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Number of the next pass."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """The next pass is that of ``epoch``: the same one for the same seed and epoch."""
        self._epoch = epoch

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


class Shares(Sampler[list[Any]]):
    """What one of several processes takes of each batch of an order: every ``size``-th chip.

    The shares of a batch are the batch, so that processes that add up their gradients take the steps of one.
    """

    def __init__(self, whole: Order, *, rank: int, size: int, shuffle: bool) -> None:
        """Share an order.

        Parameters
        ----------
        whole
            The batches of all processes together.
        rank
            Number of this process, 0..size-1.
        size
            Number of processes.
        shuffle
            Whether it is trained with these batches: then each share has two chips or more, for the sake of
            batch statistics, and a batch with fewer goes round again. Otherwise every chip is in one share,
            and a batch whose share is empty is left out.
        """
        self.whole, self.rank, self.size, self._least = whole, rank, size, 2 * size if shuffle else 0
        self._weights: list[float] = []
        self._count = len(whole) if shuffle else sum(len(batch) > rank for batch in whole)

    @property
    def epoch(self) -> int:
        return self.whole.epoch

    def set_epoch(self, epoch: int) -> None:
        """The next pass is that of ``epoch``, for all processes."""
        self.whole.set_epoch(epoch)

    def weight(self, number: int) -> float:
        """What the mean over a share counts for in the mean of all processes' shares; 1 for an equal share.

        Parameters
        ----------
        number
            Of a batch of the running pass that was handed out already.
        """
        return self._weights[number]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[Any]]:
        self._weights = []
        for batch in self.whole:
            count = max(len(batch), self._least)
            share = [batch[place % len(batch)] for place in range(self.rank, count, self.size)]
            if share:
                self._weights.append(len(share) * self.size / count)
                yield share


class UnpairedOrder(Sampler[list[tuple[int, int]]]):
    """Pairs of positions in two sets of chips that do not belong together.

    An epoch goes once over the larger set; the smaller one goes round again.
    """

    def __init__(self, first: EpochOrder, second: EpochOrder) -> None:
        """Join two orders with the same number of batches of the same size."""
        self.first, self.second = first, second

    @property
    def epoch(self) -> int:
        return self.first.epoch

    def set_epoch(self, epoch: int) -> None:
        """Both sets are shuffled anew, each in its own way."""
        self.first.set_epoch(epoch)
        self.second.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.first)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for ours, theirs in zip(self.first, self.second, strict=True):
            yield list(zip(ours, theirs, strict=True))


def unpaired_order(
    counts: tuple[int, int], *, batch_size: int, seed: int, shuffle: bool, iterations: int | None = None
) -> UnpairedOrder:
    """An order for two sets of so many chips; settings as for :class:`EpochOrder`."""
    size = min(batch_size, *counts)
    batches = iterations or -(-max(counts) // size)
    first, second = (
        EpochOrder(count, batch_size=size, seed=seed + place, shuffle=shuffle, iterations=batches)
        for place, count in enumerate(counts)
    )
    return UnpairedOrder(first, second)
