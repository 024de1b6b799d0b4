"""RetinaNet as an object detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.detection_retina import RetinaSettings, build_retina
from rasterloom.models.networks.fpn import PyramidSettings
from rasterloom.models.objects.detector import (
    NMS_OVERLAP,
    THRESHOLD,
    ObjectDetector,
    Objects,
    summed_losses,
)


@final
class RetinaNet(ObjectDetector):
    """Finds boxes with RetinaNet on a chosen backbone with a feature pyramid."""

    settings_kinds = (PyramidSettings, RetinaSettings)

    def __init__(
        self,
        data: TrainingData | None,
        scales: Sequence[float] | None = None,
        ratios: Sequence[float] | None = None,
        backbone: str | None = None,
        pretrained_path: str | Path | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a RetinaNet that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned.
        scales
            Factors of the sides of anchors. None is 1, 0.8 and 0.63.
        ratios
            Height over width of anchors. None is 0.5, 1 and 2.
        backbone
            One of :meth:`backbones`, or a convolutional network of timm as ``timm:NAME``. None is resnet50.
        pretrained_path
            A saved RetinaNet with the same bands and classes to start from.
        kwargs
            ``anchor_sizes``, ``finest_stride``: see
            :class:`~rasterloom.models.networks.detection_retina.RetinaSettings`; ``pretrained``,
            ``encoder_depth``, ``pyramid_channels``: see
            :class:`~rasterloom.models.networks.fpn.PyramidSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"RetinaNet takes five arguments by position and got {5 + len(args)}: name the further "
                "ones, such as pretrained=False."
            )
        super().__init__(data, backbone, pretrained_path, scales=scales, ratios=ratios, **kwargs)

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new RetinaNet for the bands and classes of :attr:`spec`."""
        pyramid, retina = self.settings
        return build_retina(
            bands=self.spec.band_count,
            classes=len(self.spec.classes),
            pyramid=pyramid,
            retina=retina,
            pretrained=pretrained,
        )

    def batch_loss(self, images: Tensor, targets: Sequence[Objects]) -> Tensor:
        """The focal loss of what anchors are, and the distance of boxes."""
        return summed_losses(self.network, images, targets)

    def detect(
        self, images: Tensor, *, threshold: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP
    ) -> list[Objects]:
        """The objects of each chip, the most certain first."""
        with torch.no_grad():
            found: list[Objects] = self.network(images, threshold=threshold, nms_overlap=nms_overlap)
        return found

    def predict(
        self,
        image_path: Any,
        threshold: float = THRESHOLD,
        nms_overlap: float = NMS_OVERLAP,
        return_scores: bool = True,
        visualize: bool | str | Path = False,
        resize: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Boxes, class values and scores of the objects of one image; see :meth:`ObjectDetector.predict`."""
        return super().predict(
            image_path, threshold, nms_overlap, return_scores, visualize, resize, batch_size, **kwargs
        )

    def average_precision_score(
        self,
        detect_thresh: float = 0.5,
        iou_thresh: float = 0.1,
        mean: bool = False,
        show_progress: bool = True,
    ) -> dict[str, float] | float:
        """Average precision on the validation set; see :meth:`ObjectDetector.average_precision_score`."""
        return super().average_precision_score(detect_thresh, iou_thresh, mean, show_progress)
