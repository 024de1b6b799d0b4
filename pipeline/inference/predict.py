"""Hold a model ready on a device and turn chips into probabilities."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rasterloom.cluster.resident import resident
from rasterloom.models.contract import Task
from rasterloom.pipeline.inference.augment import merged
from rasterloom.pipeline.inference.change.network import BothDates
from rasterloom.pipeline.inference.forward import Forward
from rasterloom.pipeline.inference.models import load_staged
from rasterloom.pipeline.inference.plan import PixelPlan

_LANES = 16
"""Numbers in the widest vector of a CPU."""


class PixelPredictor:
    """A network in evaluation mode that gives the probabilities of classes for chips."""

    def __init__(
        self, model: Any, device: str = "cpu", *, precision: str = "float32", compiled: bool = False
    ) -> None:
        self.model = model
        self._forward = Forward(device, model.spec.normalization, precision=precision)
        # channels_last is 1.3 to 3 times faster on CPU; one format per run keeps the arithmetic the same
        network = model.network.eval().to(self._forward.device).to(memory_format=torch.channels_last)
        self.network: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network

    @property
    def most_chips(self) -> int | None:
        """Chips that fit into memory at once, as far as that was found out; None before it ran out."""
        return self._forward.most_chips

    def predict(
        self,
        chips: np.ndarray,
        valid: np.ndarray,
        *,
        centre: slice,
        merge: str | None = None,
        scores: bool = False,
    ) -> Tensor:
        """Class probabilities of the centre of every chip.

        When memory runs out, half as many chips go through the network at once, from then on.

        Parameters
        ----------
        chips
            (N, C, T, T), uint8 or float32, in the raster's own units.
        valid
            (N, T, T) of bool. Pixels that are not valid are given the band's mean.
        centre
            Rows and columns that are kept of each prediction.
        merge
            Policy by which the predictions for flips and rotations are merged. None looks once.
        scores
            Whether numbers in the order of the probabilities will do, which is faster.

        Returns
        -------
        Tensor of float32 on the device, (N, K, S, S)

        Raises
        ------
        MemoryError
            If not even one chip fits.
        """
        finish = self.model.scores if scores else self._probabilities

        def look(images: Tensor) -> Tensor:
            with self._forward.autocast():
                outputs = self.network(images.contiguous(memory_format=torch.channels_last))
            return finish(outputs.float())[..., centre, centre]

        def predict(images: Tensor) -> Tensor:
            return look(images) if merge is None else merged(look, images, merge)

        found = self._forward.in_parts(chips, valid, predict)
        return found[0] if len(found) == 1 else torch.cat(found)

    def _probabilities(self, outputs: Tensor) -> Tensor:
        """Of whole tiles, so that a pixel's last bit depends on its tile alone."""
        if self._forward.device.type == "cpu" and outputs[0, 0].numel() % _LANES:
            # softmax takes what fills no vector by another route: chips of a batch must not share vectors
            return torch.cat([self.model.probabilities(chip) for chip in torch.split(outputs, 1)])
        return self.model.probabilities(outputs)


def resident_predictor(plan: PixelPlan, load: Callable[[], Any] | None = None) -> PixelPredictor:
    """The predictor that a plan needs, made once in this process.

    Parameters
    ----------
    plan
        What will be computed.
    load
        Gives the model. None takes the package that the plan names.
    """

    def make() -> PixelPredictor:
        model = load_staged(plan.package) if load is None else load()
        if model.spec.task is Task.CHANGE:
            model = BothDates(model)
        return PixelPredictor(model, plan.device, precision=plan.precision, compiled=plan.compiled)

    return resident(f"pixels-{plan.digest}-{plan.device}-{plan.precision}-{plan.compiled}", make)
