"""Hold a classifier of chips ready on a device and tell how probable each class is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rasterloom.models.errors import ModelMismatchError
from rasterloom.pipeline.inference.augment import merged
from rasterloom.pipeline.inference.forward import Forward
from rasterloom.pipeline.inference.models import resident_network

_SLACK = 1e-3
"""How far a probability may lie outside 0..1 by rounding."""


class ScenePredictor:
    """A network in evaluation mode that gives the probabilities of classes for whole chips."""

    def __init__(self, model: Any, device: str = "cpu", *, precision: str = "float32") -> None:
        """Take a model.

        Parameters
        ----------
        model
            It has ``network``, ``spec``, and ``classify_chips(images)``.
        device
            ``cpu`` or ``cuda``.
        precision
            Type of the network's arithmetic: ``float32``, ``bfloat16`` or ``float16``.
        """
        self.model = model
        self._forward = Forward(device, model.spec.normalization, precision=precision)
        model.network.eval().to(self._forward.device).to(memory_format=torch.channels_last)

    def classify(self, chips: np.ndarray, *, merge: str | None = None) -> np.ndarray:
        """Probabilities of the classes for each chip, (N, K) float64; nan where the network gives none.

        When memory runs out, half as many chips go through the network at once, from then on.

        Parameters
        ----------
        chips
            (N, C, T, T), uint8 or float32, in the raster's own units. What is not valid is 0, as in training.
        merge
            Policy by which the predictions for flips and rotations are merged. None looks once.

        Raises
        ------
        MemoryError
            If not even one chip fits.
        ModelMismatchError
            If the model does not give shares of 0 to 1, one for each class.
        """

        def look(images: Tensor) -> Tensor:
            with self._forward.autocast():
                found: Tensor = self.model.classify_chips(
                    images.contiguous(memory_format=torch.channels_last)
                )
            return self._checked(found.float(), len(images))[..., None, None]

        def predict(images: Tensor) -> np.ndarray:
            seen = look(images) if merge is None else merged(look, images, merge)
            return seen[..., 0, 0].double().cpu().numpy()

        valid = np.ones((len(chips), *chips.shape[2:]), bool)
        return np.concatenate(self._forward.in_parts(chips, valid, predict))

    def _checked(self, found: Tensor, count: int) -> Tensor:
        classes = len(self.model.spec.output_values)
        if tuple(found.shape) != (count, classes):
            raise ModelMismatchError(
                f"the network gives {tuple(found.shape)} for {count} chips and {classes} classes: it should "
                f"be {(count, classes)}, one number for each class of a chip."
            )
        wrong = found[torch.isfinite(found) & ((found < -_SLACK) | (found > 1 + _SLACK))]
        if len(wrong):
            raise ModelMismatchError(
                f"the network gives {float(wrong[0]):.3g} for a class, and a probability lies from 0 to 1: "
                "say outputs='logits', or send its outputs through a sigmoid or softmax first."
            )
        return found.clamp(0, 1)


def resident_classifier(
    package: str, digest: str, device: str, precision: str, load: Callable[[], Any] | None = None
) -> ScenePredictor:
    """The predictor of a package, made once in this process; see :func:`resident_network`."""
    return resident_network(ScenePredictor, "scenes", package, digest, device, precision, load)
