"""The smallest model that can be trained: three convolutions."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rasterloom.models.losses.pixels import PixelLossSettings
from rasterloom.models.pixels.classifier import PixelClassifier


class TinyModel(PixelClassifier):
    """A pixel classifier without pooling."""

    dataset_types = ("Classified_Tiles",)

    loss_settings = PixelLossSettings()

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return dict(parameters)

    def build_network(self, *, pretrained: bool) -> nn.Module:
        outputs = len(self.spec.output_values)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Conv2d(self.spec.band_count, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Dropout2d(self.spec.parameters.get("dropout", 0.0)),
                nn.Conv2d(8, outputs, 3, padding=1),
            )

    def new_network(self, settings: Any, *, pretrained: bool) -> nn.Module:
        return self.build_network(pretrained=pretrained)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, target)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=1)

    def early_layers(self) -> nn.Module:
        return self.network[0]

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        return {}

    @property
    def tile_multiple(self) -> int:
        return 1

    @property
    def available_metrics(self) -> list[str]:
        return ["valid_loss", "train_loss", "accuracy", "miou", "dice"]

    @property
    def supported_backbones(self) -> list[str]:
        return []
