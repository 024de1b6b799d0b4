"""Send chips through a network on one device: normalised, in turns, as many at once as fit."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from rasterloom.cluster.gpu import give_up_gpu
from rasterloom.cluster.resident import forward_lock
from rasterloom.cluster.threads import batch_threads
from rasterloom.models.contract import Normalization

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_CPU_FULL = ("can't allocate memory", "not enough memory", "Failed to allocate memory")
"""How torch's allocator for the CPU and ONNX Runtime say, in a plain RuntimeError, that there is no room."""

T = TypeVar("T")


class Forward:
    """The way of chips to a network, whatever the network makes of them."""

    def __init__(self, device: str, scaling: Normalization, *, precision: str = "float32") -> None:
        self.device = torch.device(device)
        self._precision = PRECISIONS[precision]
        self._most: int | None = None
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(scaling.mean, dtype=torch.float32, device=self.device).view(shape)
        self._std = torch.tensor(scaling.std, dtype=torch.float32, device=self.device).view(shape)

    @property
    def most_chips(self) -> int | None:
        """Chips that fit into memory at once, as far as that was found out; None before it ran out."""
        return self._most

    def in_parts(
        self, chips: np.ndarray, valid: np.ndarray, predict: Callable[[Tensor], T], *, most: int | None = None
    ) -> list[T]:
        """What ``predict`` makes of the chips, for each part of them that fits into memory.

        When memory runs out, half as many chips go through the network at once, from then on.

        Parameters
        ----------
        chips
            (N, C, T, T), uint8 or float32, in the raster's own units.
        valid
            (N, T, T) of bool. Pixels that are not valid are given the band's mean.
        predict
            From normalised images, (n, C, T, T) float32 on the device.
        most
            Chips of a part at most. None sets no bound but memory.

        Raises
        ------
        MemoryError
            If not even one chip fits.
        """
        found: list[T] = []
        start = 0
        while start < len(chips):
            bounds = (len(chips) - start, *(bound for bound in (self._most, most) if bound))
            part = slice(start, start + min(bounds))
            try:
                found.append(self._pass(chips[part], valid[part], predict))
                start = part.stop
            except (RuntimeError, MemoryError) as error:
                self._shrink(error, part.stop - part.start, chips.shape[-1])
        return found

    def autocast(self) -> Any:
        """The precision of the run, for as long as the context lasts."""
        if self._precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._precision)

    def _pass(self, chips: np.ndarray, valid: np.ndarray, predict: Callable[[Tensor], T]) -> T:
        waiting = self._host(chips), None if valid.all() else self._host(valid)
        with self._turn(), torch.inference_mode():
            found = predict(self._normalised(*waiting))
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # the next thread's turn begins when this one is over
            return found

    def _host(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def _normalised(self, chips: Tensor, valid: Tensor | None) -> Tensor:
        given = chips.to(self.device, non_blocking=True)
        normal = given.float()
        # a pass that runs out of memory is done again: its chips must stay as they are
        normal = (normal.sub(self._mean) if normal is given else normal.sub_(self._mean)).div_(self._std)
        if valid is not None:  # the band's mean is 0 once normalised; this also takes NaN away
            normal.masked_fill_(~valid.to(self.device, non_blocking=True)[:, None], 0.0)
        return normal.contiguous(memory_format=torch.channels_last)  # here, so that only one of the two stays

    def _turn(self) -> Any:
        """One pass at a time on an accelerator; on the CPU threads share the cores."""
        return nullcontext() if self.device.type == "cpu" else forward_lock(str(self.device))

    def _shrink(self, error: Exception, chips: int, side: int) -> None:
        """Remember that so many chips are too many. Raises what is no lack of memory."""
        if not is_out_of_memory(error):
            give_up_gpu(error)
            raise error
        if chips == 1:
            # the driver's word for what another worker, or another moment, may have room for
            raise MemoryError(
                f"one chip of {side} pixels does not fit into the memory of {self.device}: "
                "use a smaller tile_size, or workers with more memory."
            ) from error
        self._most = chips // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU_FULL)


@contextmanager
def shared_cores(device: str) -> Iterator[None]:
    """Give this thread its share of the cores for as long as it computes beside others on the CPU.

    Two passes with one thread each take less time than one after the other with two: 5 % on two cores.
    """
    before = torch.get_num_threads()
    share = max(1, len(os.sched_getaffinity(0)) // batch_threads())
    if device != "cpu" or share >= before:
        yield
        return
    torch.set_num_threads(share)
    try:
        yield
    finally:
        torch.set_num_threads(before)
