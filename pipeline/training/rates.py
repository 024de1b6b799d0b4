"""The learning rate that makes the loss fall fastest."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.training.evaluate import fastest_device, placed

_STEPS = 60
_LOWEST, _HIGHEST = 1e-6, 1.0
_CHIPS = 16
"""Most chips in a batch of the sweep: it needs the shape of the curve, not every chip."""
_SMOOTHING = 0.8
"""Weight of the past in the running mean of the loss."""
_GIVE_UP = 4.0
"""The sweep ends when the smoothed loss is this many times the lowest one."""


@dataclass(frozen=True)
class RateCurve:
    """Loss against learning rate."""

    rates: tuple[float, ...]
    """Ascending."""
    losses: tuple[float, ...]
    """Running mean of the loss at each rate."""
    best: float
    """A rate two thirds down the longest valley of the losses."""


def find_rate(model: ImageryModel, data: ImageryData) -> RateCurve:
    """Sweep the learning rate upwards over real batches and see where the loss falls.

    The weights, the running statistics, the network's device and torch's random state are afterwards bit for
    bit what they were.

    Raises
    ------
    SettingError
        If the loss is not a number from the start.

    References
    ----------
    L. Smith: "Cyclical learning rates for training neural networks", 2017. The choice of the valley follows
    "valley" of the fast.ai library.
    """
    device = fastest_device()
    with _restored(model, device):
        torch.manual_seed(data.seed)
        rates, losses = _sweep(model, _endless(data, device))
    return RateCurve(tuple(rates), tuple(losses), choose_rate(rates, losses))


def choose_rate(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate two thirds down the longest run of falling losses; where none falls, the lowest loss's tenth.

    Parameters
    ----------
    rates, losses
        Of one length, rates ascending; the losses smooth.
    """
    values = np.asarray(losses)
    length, before = np.ones(len(values), int), np.full(len(values), -1)
    for end in range(1, len(values)):
        higher = np.flatnonzero(values[:end] > values[end])
        if higher.size:
            longest = higher[np.argmax(length[higher])]
            length[end], before[end] = length[longest] + 1, longest
    end = int(np.argmax(length))
    if length[end] < 3:
        return float(rates[int(np.argmin(values))]) / 10
    valley = [end]
    while before[valley[-1]] >= 0:
        valley.append(int(before[valley[-1]]))
    valley.reverse()
    return float(rates[valley[2 * len(valley) // 3]])


def _sweep(model: ImageryModel, batches: Iterator[Any]) -> tuple[list[float], list[float]]:
    weights = [p for group in model.param_groups() for p in group["params"] if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=_LOWEST, weight_decay=0.01)
    rates, losses, running, lowest = [], [], 0.0, math.inf
    for step, batch in enumerate(islice(batches, _STEPS)):
        rate = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model.training_loss(batch)
        value = loss.item()
        if not math.isfinite(value):
            break
        running = _SMOOTHING * running + (1 - _SMOOTHING) * value
        smooth = running / (1 - _SMOOTHING ** (step + 1))
        rates.append(rate)
        losses.append(smooth)
        lowest = min(lowest, smooth)
        if smooth > _GIVE_UP * lowest:
            break
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    if len(rates) < 2:
        raise SettingError(
            "the loss is not a number before the first step: look for pixels that are not numbers in the "
            "chips, or for a band whose statistics are extreme."
        )
    return rates, losses


def _endless(data: ImageryData, device: torch.device) -> Iterator[Any]:
    size = min(data.batch_size, _CHIPS)
    loader = data.train_loader(device=device, batch_size=size, iterations=_STEPS)
    yield from loader


@contextmanager
def _restored(model: ImageryModel, device: torch.device) -> Iterator[None]:
    """Inside, the network trains on ``device``; afterwards nothing of it shows."""
    network = model.network
    home = next((p.device for p in network.parameters()), torch.device("cpu"))
    state = copy.deepcopy(network.state_dict())
    modes = [(part, part.training) for part in network.modules()]
    gradients = [(p, p.grad) for p in network.parameters()]
    with torch.random.fork_rng(devices=[0] if device.type == "cuda" else []):
        placed(network, device, torch.channels_last).train()
        try:
            yield
        finally:
            placed(network, home, torch.contiguous_format)
            network.load_state_dict(state)
            for part, was_training in modes:
                part.training = was_training
            for parameter, gradient in gradients:
                parameter.grad = gradient
