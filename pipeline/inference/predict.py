"""Hold a model ready on a device and turn chips into probabilities."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rasterloom.cluster.gpu import give_up_gpu
from rasterloom.cluster.resident import forward_lock, resident
from rasterloom.cluster.threads import batch_threads
from rasterloom.pipeline.inference.augment import merged
from rasterloom.pipeline.inference.models import load_staged
from rasterloom.pipeline.inference.plan import PixelPlan

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_CPU_FULL = ("can't allocate memory", "not enough memory", "Failed to allocate memory")
"""How torch's allocator for the CPU and ONNX Runtime say, in a plain RuntimeError, that there is no room."""

_LANES = 16
"""Numbers in the widest vector of a CPU."""


class PixelPredictor:
    """A network in evaluation mode that gives the probabilities of classes for chips."""

    def __init__(
        self, model: Any, device: str = "cpu", *, precision: str = "float32", compiled: bool = False
    ) -> None:
        self.device = torch.device(device)
        self.model = model
        # channels_last is 1.3 to 3 times faster on CPU; one format per run keeps the arithmetic the same
        network = model.network.eval().to(self.device).to(memory_format=torch.channels_last)
        self.network: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network
        self._precision = PRECISIONS[precision]
        self._most: int | None = None
        shape, scaling = (1, -1, 1, 1), model.spec.normalization
        self._mean = torch.tensor(scaling.mean, dtype=torch.float32, device=self.device).view(shape)
        self._std = torch.tensor(scaling.std, dtype=torch.float32, device=self.device).view(shape)

    @property
    def most_chips(self) -> int | None:
        """Chips that fit into memory at once, as far as that was found out; None before it ran out."""
        return self._most

    def predict(
        self,
        chips: np.ndarray,
        valid: np.ndarray,
        *,
        centre: slice,
        merge: str | None = None,
        scores: bool = False,
    ) -> Tensor:
        """Class probabilities of the centre of every chip.

        When memory runs out, half as many chips go through the network at once, from then on.

        Parameters
        ----------
        chips
            (N, C, T, T), uint8 or float32, in the raster's own units.
        valid
            (N, T, T) of bool. Pixels that are not valid are given the band's mean.
        centre
            Rows and columns that are kept of each prediction.
        merge
            Policy by which the predictions for flips and rotations are merged. None looks once.
        scores
            Whether numbers in the order of the probabilities will do, which is faster.

        Returns
        -------
        Tensor of float32 on the device, (N, K, S, S)

        Raises
        ------
        MemoryError
            If not even one chip fits.
        """
        found: list[Tensor] = []
        start = 0
        while start < len(chips):
            part = slice(start, start + min(self._most or len(chips), len(chips) - start))
            try:
                found.append(self._pass(chips[part], valid[part], centre, merge, scores))
                start = part.stop
            except (RuntimeError, MemoryError) as error:
                self._shrink(error, part.stop - part.start, chips.shape[-1])
        return found[0] if len(found) == 1 else torch.cat(found)

    def _pass(
        self, chips: np.ndarray, valid: np.ndarray, centre: slice, merge: str | None, scores: bool
    ) -> Tensor:
        finish = self.model.scores if scores else self._probabilities

        def predict(images: Tensor) -> Tensor:
            with self._autocast():
                outputs = self.network(images.contiguous(memory_format=torch.channels_last))
            return finish(outputs.float())[..., centre, centre]

        waiting = self._host(chips), None if valid.all() else self._host(valid)
        with self._turn(), torch.inference_mode():
            images = self._normalised(*waiting)
            found = predict(images) if merge is None else merged(predict, images, merge)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)  # the next thread's turn begins when this one is over
            return found

    def _probabilities(self, outputs: Tensor) -> Tensor:
        """Of whole tiles, so that a pixel's last bit depends on its tile alone."""
        if self.device.type == "cpu" and outputs[0, 0].numel() % _LANES:
            # softmax takes what fills no vector by another route: chips of a batch must not share vectors
            return torch.cat([self.model.probabilities(chip) for chip in torch.split(outputs, 1)])
        return self.model.probabilities(outputs)

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

    def _autocast(self) -> Any:
        if self._precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._precision)

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


def resident_predictor(plan: PixelPlan, load: Callable[[], Any] | None = None) -> PixelPredictor:
    """The predictor that a plan needs, made once in this process.

    Parameters
    ----------
    plan
        What will be computed.
    load
        Gives the model. None takes the package that the plan names.
    """

    def make() -> PixelPredictor:
        model = load_staged(plan.package) if load is None else load()
        return PixelPredictor(model, plan.device, precision=plan.precision, compiled=plan.compiled)

    return resident(f"pixels-{plan.digest}-{plan.device}-{plan.precision}-{plan.compiled}", make)
