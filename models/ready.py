"""What inference asks of a model, wherever the model is from."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from rasterloom.models.contract import ModelSpec
from rasterloom.models.history import History


class ReadyModel(Protocol):
    """A model that can be run: trained here, or brought by the user."""

    spec: ModelSpec
    history: History

    @property
    def network(self) -> nn.Module:
        """(N, C, H, W) float32, normalised -> (N, K, H, W), a channel for each of ``spec.output_values``."""
        ...

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        ...

    def scores(self, logits: Tensor) -> Tensor:
        """Numbers that put the classes in the order of their probabilities, in the same shape."""
        ...

    def probabilities(self, logits: Tensor) -> Tensor:
        """The network's outputs as probabilities, in the same shape."""
        ...

    def package_facts(self, *, compute_metrics: bool) -> Mapping[str, Any]:
        """Entries for the description in its package, JSON-able."""
        ...
