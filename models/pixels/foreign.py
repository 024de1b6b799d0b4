"""A network that was built and trained elsewhere, as a pixel classifier."""

from typing import ClassVar, final

from torch import Tensor, nn

from rasterloom.models.brought import BroughtModel, ScoringSettings
from rasterloom.models.contract import ClassInfo
from rasterloom.models.networks.outputs import PixelOutputs


@final
class TorchModel(BroughtModel):
    """Gives every pixel a class with a network of any origin; :func:`rasterloom.models.from_torch` makes it.

    It is run and saved like the other models, and not trained: that happened elsewhere.
    """

    settings_class: ClassVar = ScoringSettings
    network: PixelOutputs
    """(N, C, H, W) float32, normalised -> (N, K, H, W), one channel for each of ``spec.output_values``."""

    @property
    def output_classes(self) -> tuple[ClassInfo, ...]:
        """The class of each network output; output 0 may be background, which is no class."""
        return self.spec.output_classes

    def scores(self, logits: Tensor) -> Tensor:
        """The network's outputs as they are: the largest belongs to the most probable class."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """The network's outputs as probabilities, in the same shape."""
        return logits if self.network.probabilities else logits.softmax(dim=1)

    def _wrapped(self, module: nn.Module) -> PixelOutputs:
        return PixelOutputs(module, probabilities=self._settings.outputs == "probabilities")
