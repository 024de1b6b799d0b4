"""A network that was built and trained elsewhere, as a classifier of whole chips."""

import dataclasses
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from rasterloom.models.brought import BroughtModel, ScoringSettings
from rasterloom.models.contract import ClassInfo
from rasterloom.models.networks.scene_outputs import SceneOutputs
from rasterloom.models.settings import checked_flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchSceneSettings(ScoringSettings):
    """What is kept of a brought classifier besides its program."""

    multilabel: bool = False
    """Whether a chip can be of several classes, or of none."""
    crop_size_fixed: bool = True
    """Whether the chips of training had one size; otherwise each was as large as its feature."""
    blacken_around_feature: bool = False
    """Whether pixels outside the feature were black in training."""

    def __post_init__(self) -> None:
        for name in ("multilabel", "crop_size_fixed", "blacken_around_feature"):
            checked_flag(name, getattr(self, name))
        super().__post_init__()


@final
class TorchSceneClassifier(BroughtModel):
    """Gives whole chips a label with a network of any origin; ``from_torch`` makes it.

    It is run and saved like the other models, and not trained: that happened elsewhere.
    """

    settings_class: ClassVar = TorchSceneSettings
    network: SceneOutputs
    """(N, C, H, W) float32, normalised -> (N, K), one number for each of ``spec.output_values``."""

    @property
    def output_classes(self) -> tuple[ClassInfo, ...]:
        """The class of each network output."""
        return self.spec.output_classes

    @property
    def multilabel(self) -> bool:
        """Whether a chip can be of several classes, or of none."""
        return bool(self._settings.multilabel)

    def classify_chips(self, images: Tensor) -> Tensor:
        """Probability of each class (N, K) for each chip of (N, C, H, W), normalised."""
        with torch.no_grad():
            return self.probabilities(self.network(images))

    def scores(self, logits: Tensor) -> Tensor:
        """The network's outputs as they are: the largest belongs to the most probable class."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """The network's outputs as probabilities, in the same shape."""
        if self._settings.outputs == "probabilities":
            return logits
        return logits.sigmoid() if self.multilabel else logits.softmax(dim=1)

    def _wrapped(self, module: nn.Module) -> SceneOutputs:
        _ = self._settings  # wrong ones are refused now
        return SceneOutputs(module)
