"""Hold a detector ready on a device and find the things in chips."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rasterloom.pipeline.inference.forward import Forward
from rasterloom.pipeline.inference.models import resident_network
from rasterloom.pipeline.inference.objects.finds import Finds, read_finds
from rasterloom.pipeline.inference.objects.turned import seen_all_ways


class ObjectPredictor:
    """A detector in evaluation mode that finds the things in chips."""

    def __init__(self, model: Any, device: str = "cpu", *, precision: str = "float32") -> None:
        """Take a model.

        Parameters
        ----------
        model
            It has ``network``, ``spec``, and ``detect(images, threshold=, nms_overlap=)``.
        device
            ``cpu`` or ``cuda``.
        precision
            Type of the network's arithmetic: ``float32``, ``bfloat16`` or ``float16``.
        """
        self.model = model
        self._forward = Forward(device, model.spec.normalization, precision=precision)
        model.network.eval().to(self._forward.device).to(memory_format=torch.channels_last)

    @property
    def most_chips(self) -> int | None:
        """Chips that fit into memory at once, as far as that was found out; None before it ran out."""
        return self._forward.most_chips

    def find(
        self,
        chips: np.ndarray,
        valid: np.ndarray,
        *,
        threshold: float,
        nms_overlap: float,
        tta: bool = False,
        merge_policy: str = "mean",
        batch_size: int | None = None,
    ) -> list[Finds]:
        """The things in each chip.

        When memory runs out, half as many chips go through the network at once, from then on.

        Parameters
        ----------
        chips
            (N, C, T, T), uint8 or float32, in the raster's own units.
        valid
            (N, T, T) of bool. Pixels that are not valid are given the band's mean.
        threshold
            Least score, 0..1.
        nms_overlap
            Most that two things of a class may overlap, as intersection over union.
        tta
            Whether each chip is seen in its eight flips and rotations.
        merge_policy
            What becomes of what they show: see :func:`merged_looks`.
        batch_size
            Chips at once at most. None sends all of them.

        Raises
        ------
        MemoryError
            If not even one chip fits.
        ModelMismatchError
            If the scores are no numbers from 0 to 1.
        """

        def look(images: Tensor) -> list[dict[str, Tensor]]:
            with self._forward.autocast():
                found: list[dict[str, Tensor]] = self.model.detect(
                    images, threshold=threshold, nms_overlap=nms_overlap
                )
            return found

        def once(images: Tensor) -> list[Finds]:
            return [read_finds(objects) for objects in look(images)]

        def eight_times(images: Tensor) -> list[Finds]:
            return seen_all_ways(look, images, merge_policy=merge_policy, nms_overlap=nms_overlap)

        see = eight_times if tta else once
        parts = self._forward.in_parts(chips, valid, see, most=batch_size)
        return [finds for part in parts for finds in part]


def resident_detector(
    package: str, digest: str, device: str, precision: str, load: Callable[[], Any] | None = None
) -> ObjectPredictor:
    """The predictor of a package, made once in this process; see :func:`resident_network`."""
    return resident_network(ObjectPredictor, "objects", package, digest, device, precision, load)
