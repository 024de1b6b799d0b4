"""Tiny networks of the kinds that people bring, with the same random weights for the same seed."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


class TinyNet(nn.Module):
    """Two convolutions that know something of the neighbourhood."""

    def __init__(self, outputs: int = 3, bands: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(bands, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, outputs, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, K, H, W) logits, far from each other."""
        scores: Tensor = 8 * self.last(self.norm(self.first(images)).relu())
        return scores - scores.mean(dim=(2, 3), keepdim=True)


class Answering(nn.Module):
    """A network whose answer is what ``answer`` makes of a tensor and the images."""

    def __init__(self, answer: Callable[[Tensor, Tensor], Any], outputs: int = 3) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, outputs, 3, padding=1)
        self.answer = answer

    def forward(self, images: Tensor) -> Any:
        return self.answer(self.net(images), images)


class Strided(nn.Module):
    """Scores on a grid of a quarter, as SegFormer gives them; sides must be multiples of 4."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, outputs, 4, stride=4)

    def forward(self, images: Tensor) -> Any:
        return SimpleNamespace(logits=self.net(images))


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """What ``make`` builds, with weights of a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def tiny_model() -> Any:
    """A model of 20 kB that somebody brought, which knows three classes in three bands."""
    from rasterloom.models import from_torch

    return from_torch(seeded(TinyNet), classes=["a", "b", "c"], bands=3, tile_size=64)


def write_onnx(path: Path, network: nn.Module, *, batch: int | None = None, side: int | None = None) -> Path:
    """Write a network of 3 bands as ONNX, with open or fixed batch size and sides."""
    auto = torch.export.Dim.AUTO
    shape = {axis: auto for axis, fixed in ((0, batch), (2, side), (3, side)) if fixed is None}
    torch.onnx.export(
        network.eval(),
        (torch.zeros(batch or 2, 3, side or 32, side or 32),),
        path,
        dynamo=True,
        dynamic_shapes=(shape,) if shape else None,
        external_data=False,
        verbose=False,
    )
    return path
