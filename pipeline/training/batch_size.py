"""How many chips fit in memory at once."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import psutil
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.training.evaluate import fastest_device, placed

MOST_RECOMMENDED = 64
"""Of training: larger batches learn little more from each chip."""
MOST = 1024

_PROBES = (2, 4)
"""Batches that are tried; what a further chip takes is the difference."""
_OBJECTS = 16
"""Objects of a chip of noise."""
_SHARE = 0.8
"""Part of the free memory that is given away: allocators and libraries keep some for themselves."""
_SCRATCH = 1.5
"""Resident memory of predicting on the CPU for each byte of live tensors: convolutions rearrange their inputs
(measured with a U-Net, 29 MB a chip against 19; training keeps so much that it does not show)."""


class BatchSizes(NamedTuple):
    """Chips in a batch."""

    recommended_batchsize: int
    """A power of two; for training at most 64."""
    max_batchsize: int
    """As many as fit, at most 1024."""


@dataclass(frozen=True)
class _Need:
    """Bytes of one step."""

    fixed: float
    """However many chips there are: gradients, the optimiser's state, what libraries set aside."""
    per_chip: float


def estimate_batch_size(model: ImageryModel, mode: str = "train", **kwargs: Any) -> BatchSizes:
    """How many chips of the model's size fit in the memory that is free now.

    On a GPU small batches are tried and the memory they take is measured; on the CPU every tensor of a small
    batch is counted while it lives. The model is left as it was.

    Parameters
    ----------
    model
        Any model of images. Chips have its bands and tile size.
    mode
        ``train`` for a step of training, gradients and optimiser included, or ``eval`` for predicting.

    Returns
    -------
    BatchSizes
        ``(recommended_batchsize, max_batchsize)``: at least 2, or 1 for ``eval``, fitting or not.

    Raises
    ------
    SettingError
        If the mode is not known.
    """
    if kwargs:
        raise SettingError(f"estimate_batch_size takes model and mode, not {', '.join(sorted(kwargs))}.")
    if mode not in ("train", "eval"):
        raise SettingError(f"mode={mode!r} is not known: use 'train' or 'eval'.")
    device = fastest_device()
    training = mode == "train"
    with _borrowed(model, device, training=training):
        free = _free(device)
        peaks = [_peak(model, device, size, training=training) for size in _PROBES]
    return _sizes(_need(model, peaks, training=training), free, training=training)


def _sizes(need: _Need, free: float, *, training: bool) -> BatchSizes:
    least = 2 if training else 1
    fitting = int((free * _SHARE - need.fixed) // max(need.per_chip, 1.0))
    most = min(MOST, max(least, fitting))
    recommended = 2 ** (most.bit_length() - 1)
    return BatchSizes(min(MOST_RECOMMENDED, recommended) if training else recommended, most)


def _need(model: ImageryModel, peaks: list[int], *, training: bool) -> _Need:
    small, large = _PROBES
    per_chip = max(0.0, (peaks[1] - peaks[0]) / (large - small))
    fixed = max(0.0, peaks[0] - small * per_chip)
    if training:  # two moments of each weight; the gradients are in the peaks
        fixed += 2.0 * sum(_bytes(p) for p in model.network.parameters() if p.requires_grad)
    return _Need(fixed, per_chip)


def _peak(model: ImageryModel, device: torch.device, size: int, *, training: bool) -> int:
    """Most bytes that one step takes beyond what lives before it."""
    batch = _chips(model, size, device)
    given = sum(_bytes(tensor) for tensor in tree_leaves(batch))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        _step(model, batch, training=training)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before + given
    with LiveMemory() as live:
        _step(model, batch, training=training)
    scratch = 1.0 if training else _SCRATCH
    return int(scratch * live.peak) + given


def _step(model: Any, batch: Any, *, training: bool) -> None:
    if not training:
        with torch.inference_mode():
            if model.spec.task == Task.OBJECTS:
                model.detect(batch[0])
            elif model.spec.task == Task.CHANGE:
                model.change_logits(*batch[0])
            else:
                model.probabilities(model.network(batch[0]))
        return
    torch.autograd.backward(model.training_loss(batch))
    for parameter in model.network.parameters():
        parameter.grad = None


def _chips(model: ImageryModel, size: int, device: torch.device) -> tuple[Any, Any]:
    """A batch of noise as the model takes it: memory does not depend on what chips show."""
    spec = model.spec
    multiple = model.tile_multiple
    side = -(-spec.tile_size // multiple) * multiple
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((size, spec.band_count, side, side), generator=generator)
    images = images.to(device, memory_format=torch.channels_last)
    if spec.task == Task.OBJECTS:
        return images, [_noise_objects(side, len(spec.classes), generator, device) for _ in range(size)]
    if spec.task == Task.SCENES:
        labels = torch.arange(size, device=device) % len(spec.output_values)
        several = bool(getattr(model, "multilabel", False))
        return images, torch.nn.functional.one_hot(labels, len(spec.output_values)) if several else labels
    targets = torch.randint(0, len(spec.output_values), (size, side, side), generator=generator).to(device)
    return ((images, images.clone()) if spec.task == Task.CHANGE else images), targets


def _noise_objects(
    side: int, classes: int, generator: torch.Generator, device: torch.device
) -> dict[str, torch.Tensor]:
    """Boxes of one chip, a quarter of its side large."""
    corners = torch.rand((_OBJECTS, 2), generator=generator) * side * 0.75
    labels = torch.randint(1, classes + 1, (_OBJECTS,), generator=generator)
    return {"boxes": torch.cat([corners, corners + side / 4], dim=1).to(device), "labels": labels.to(device)}


def _free(device: torch.device) -> float:
    if device.type != "cuda":
        return float(psutil.virtual_memory().available)
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info(device)[0])


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch leaves it untyped
    """Counts the bytes of tensors that operations make, while they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self.now = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {_storage(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and _storage(tensor) not in given:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, address, size)

    def _drop(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _borrowed(model: ImageryModel, device: torch.device, *, training: bool) -> Iterator[None]:
    """Inside, the network is on ``device`` and trains or judges; afterwards nothing of it shows."""
    network = model.network
    home = next((p.device for p in network.parameters()), torch.device("cpu"))
    modes = [(part, part.training) for part in network.modules()]
    gradients = [(p, p.grad) for p in network.parameters()]
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(0)
        placed(network, device, torch.channels_last).train(training)
        try:
            yield
        finally:
            placed(network, home, torch.contiguous_format)
            for part, was_training in modes:
                part.training = was_training
            for parameter, gradient in gradients:
                parameter.grad = gradient
            for name, value in network.named_buffers():
                value.data.copy_(buffers[name])
