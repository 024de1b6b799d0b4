"""Faster R-CNN as an object detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from rasterloom.models.data import TrainingData
from rasterloom.models.networks.detection_regions import RegionSettings, build_regions
from rasterloom.models.networks.fpn import PyramidSettings
from rasterloom.models.objects.detector import (
    NMS_OVERLAP,
    THRESHOLD,
    ObjectDetector,
    Objects,
    summed_losses,
)


@final
class FasterRCNN(ObjectDetector):
    """Finds boxes with Faster R-CNN on a chosen backbone with a feature pyramid."""

    settings_kinds = (PyramidSettings, RegionSettings)

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = "resnet50",
        pretrained_path: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Build a Faster R-CNN that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned.
        backbone
            One of :meth:`backbones`, or a convolutional network of timm as ``timm:NAME``.
        pretrained_path
            A saved FasterRCNN with the same bands and classes to start from.
        kwargs
            ``rpn_...`` and ``box_...``, ``anchor_sizes``, ``anchor_ratios``, ``head_channels``: see
            :class:`~rasterloom.models.networks.detection_regions.RegionSettings`; ``pretrained``,
            ``encoder_depth``, ``pyramid_channels``: see
            :class:`~rasterloom.models.networks.fpn.PyramidSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        super().__init__(data, backbone, pretrained_path, **kwargs)

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new Faster R-CNN for the bands and classes of :attr:`spec`."""
        pyramid, regions = self.settings
        return build_regions(
            bands=self.spec.band_count,
            classes=len(self.spec.classes),
            pyramid=pyramid,
            regions=regions,
            pretrained=pretrained,
        )

    def batch_loss(self, images: Tensor, targets: Sequence[Objects]) -> Tensor:
        """The sum of the losses of proposing regions and of telling them."""
        return summed_losses(self.network, images, targets)

    def detect(
        self, images: Tensor, *, threshold: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP
    ) -> list[Objects]:
        """The objects of each chip, the most certain first; at most ``box_detections_per_img``."""
        with torch.no_grad():
            found: list[Objects] = self.network(images, threshold=threshold, nms_overlap=nms_overlap)
        return found
