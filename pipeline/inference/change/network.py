"""A model of two dates, run on chips that hold the bands of both."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rasterloom.models.contract import ModelSpec, Normalization


class BothDates:
    """A model for change as the pixel engine runs models: one image in, a channel for each output out."""

    def __init__(self, model: Any) -> None:
        scaling = model.spec.normalization
        self.spec: ModelSpec = replace(
            model.spec, normalization=Normalization(scaling.mean * 2, scaling.std * 2)
        )
        self.network: nn.Module = _Halved(model)
        self._model = model

    def scores(self, logits: Tensor) -> Tensor:
        """Numbers that put the classes in the order of their probabilities, in the same shape."""
        found: Tensor = self._model.scores(logits)
        return found

    def probabilities(self, logits: Tensor) -> Tensor:
        """The network's outputs as probabilities, in the same shape."""
        found: Tensor = self._model.probabilities(logits)
        return found


class _Halved(nn.Module):
    """(N, 2C, H, W), the bands of both dates -> logits (N, K, H, W)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.inner = model.network  # moved and put into evaluation mode with this module
        self._logits = model.change_logits

    def forward(self, images: Tensor) -> Tensor:
        before, after = (
            date.contiguous(memory_format=torch.channels_last) for date in images.chunk(2, dim=1)
        )
        found: Tensor = self._logits(before, after)
        return found
