"""A network that was built and trained elsewhere, as a detector."""

import dataclasses
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from rasterloom.models.brought import BroughtModel, ProgramSettings
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.object_outputs import FORMS, ObjectOutputs
from rasterloom.models.networks.programs import Program
from rasterloom.models.objects.detector import NMS_OVERLAP, THRESHOLD, Objects, checked_objects
from rasterloom.models.objects.predicting import predict_image, predict_video


@dataclasses.dataclass(frozen=True, kw_only=True)
class TorchDetectorSettings(ProgramSettings):
    """What is kept of a brought detector besides its program."""

    images: str = "batch"
    """What the network takes: ``batch``, (N, C, H, W), or ``list``, of (C, H, W)."""

    def __post_init__(self) -> None:
        if self.images not in FORMS:
            raise SettingError(f"images={self.images!r} is not known: use {' or '.join(FORMS)}.")
        super().__post_init__()


@final
class TorchDetector(BroughtModel):
    """Finds things with a network of any origin; :func:`rasterloom.models.from_torch` makes it.

    It is run and saved like the other detectors, and not trained: that happened elsewhere.
    """

    settings_class: ClassVar = TorchDetectorSettings
    network: ObjectOutputs
    """(N, C, H, W) float32, normalised -> a list with the things in each image."""

    predict = predict_image
    predict_video = predict_video

    def detect(
        self, images: Tensor, *, threshold: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP
    ) -> list[Objects]:
        """The objects of each chip.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised.
        threshold
            Least score, 0..1. Scores that are no numbers pass: the tools count them.
        nms_overlap
            Of objects of a class that overlap more than this, the most certain one is kept.

        Raises
        ------
        SettingError
            If the network returns something else.
        """
        found = checked_objects(
            self.network(images),
            len(images),
            classes=len(self.spec.classes),
            origin=str(self.spec.parameters.get("name") or "the network"),
        )
        return [_chosen(chip, threshold, nms_overlap) for chip in found]

    def program(self, *, pickled: bool = False) -> Program:
        """The network as bytes: the TorchScript it was read from, or ``pickled``.

        Raises
        ------
        SettingError
            If the module can be neither; the message says what would work.
        """
        if self._program is None and not pickled:
            raise SettingError(
                "torch.export writes networks that return tensors, and a detector returns lists of things: "
                "use save(path, pickled=True) to write the module with its code, or bring it as TorchScript."
            )
        return super().program(pickled=pickled)

    def _wrapped(self, module: nn.Module) -> ObjectOutputs:
        return ObjectOutputs(module, images=self._settings.images)


def _chosen(objects: Objects, threshold: float, nms_overlap: float) -> Objects:
    """The objects that are certain enough and not seen twice, the most certain first."""
    scores = objects["scores"]
    several: dict[str, Any] = {name: value[~(scores < threshold)] for name, value in objects.items()}
    numbers = several["scores"].nan_to_num(0.0).double()
    kept = batched_nms(several["boxes"].double(), numbers, several["labels"], nms_overlap)
    strange = torch.nonzero(several["scores"].isnan()).flatten()
    kept = torch.cat([kept[~several["scores"][kept].isnan()], strange])
    return {name: value[kept] for name, value in several.items()}
