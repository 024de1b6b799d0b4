"""A network that was built and trained elsewhere, as a model of change."""

from typing import ClassVar, final

from torch import Tensor, nn

from rasterloom.models.brought import BroughtModel, ScoringSettings
from rasterloom.models.change.predicting import predict_change
from rasterloom.models.contract import ClassInfo
from rasterloom.models.networks.change_outputs import ChangeOutputs


@final
class TorchChangeDetector(BroughtModel):
    """Tells what changed with a network of any origin; :func:`rasterloom.models.from_torch` makes it.

    It is run and saved like the other models, and not trained: that happened elsewhere.
    """

    settings_class: ClassVar = ScoringSettings
    network: ChangeOutputs
    """Two images (N, C, H, W) float32, normalised -> (N, K, H, W), one channel for each of
    ``spec.output_values``."""

    predict = predict_change

    @property
    def output_classes(self) -> tuple[ClassInfo, ...]:
        """The class of each network output; output 0 is no change."""
        return self.spec.output_classes

    @property
    def input_bands(self) -> int:
        """Channels of what the network takes: those of both dates."""
        return 2 * self.spec.band_count

    def change_logits(self, before: Tensor, after: Tensor) -> Tensor:
        """The network's outputs (N, K, H, W) for images (N, C, H, W) of both dates, normalised."""
        logits: Tensor = self.network(before, after)
        return logits

    def scores(self, logits: Tensor) -> Tensor:
        """The network's outputs as they are: the largest belongs to the most probable class."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """The network's outputs as probabilities, in the same shape."""
        return logits if self.network.outputs.probabilities else logits.softmax(dim=1)

    def _wrapped(self, module: nn.Module) -> ChangeOutputs:
        return ChangeOutputs(module, probabilities=self._settings.outputs == "probabilities")
