"""Mask R-CNN as an object detector that draws outlines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.networks.detection_regions import MaskSettings, RegionSettings, build_regions
from rasterloom.models.networks.fpn import PyramidSettings
from rasterloom.models.networks.masks import drawn
from rasterloom.models.objects.detector import (
    NMS_OVERLAP,
    THRESHOLD,
    ObjectDetector,
    Objects,
    average_precision,
    precision_facts,
    summed_losses,
)
from rasterloom.models.settings import checked_fraction

MASK_THRESHOLD = 0.5
"""Least probability of a pixel that belongs to an object."""
_SHOWN = 0.7
_MODES = ("bbox", "mask", "bbox_mask")


@final
class MaskRCNN(ObjectDetector):
    """Finds boxes and outlines with Mask R-CNN on a chosen backbone with a feature pyramid."""

    dataset_types: ClassVar[tuple[str, ...]] = ("RCNN_Masks",)
    settings_kinds = (PyramidSettings, RegionSettings, MaskSettings)

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = None,
        pretrained_path: str | Path | None = None,
        pointrend: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a Mask R-CNN that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned, of chips with outlines (RCNN_Masks).
        backbone
            One of :meth:`backbones`, or a convolutional network of timm as ``timm:NAME``. None is resnet50.
        pretrained_path
            A saved MaskRCNN with the same bands and classes to start from.
        pointrend
            Refine the outlines with PointRend.
        kwargs
            ``rpn_...`` and ``box_...``, ``anchor_sizes``, ``anchor_ratios``, ``head_channels``: see
            :class:`~rasterloom.models.networks.detection_regions.RegionSettings`; ``mask_channels``;
            ``pretrained``, ``encoder_depth``, ``pyramid_channels``: see
            :class:`~rasterloom.models.networks.fpn.PyramidSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work, or the chips have no outlines; the message says what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"MaskRCNN takes four arguments by position and got {4 + len(args)}: name the further ones, "
                "such as pretrained=False."
            )
        super().__init__(data, backbone, pretrained_path, pointrend=pointrend, **kwargs)

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new Mask R-CNN for the bands and classes of :attr:`spec`."""
        pyramid, regions, masks = self.settings
        return build_regions(
            bands=self.spec.band_count,
            classes=len(self.spec.classes),
            pyramid=pyramid,
            regions=regions,
            masks=masks,
            pretrained=pretrained,
        )

    def batch_loss(self, images: Tensor, targets: Sequence[Objects]) -> Tensor:
        """The sum of the losses of proposing regions, of telling them, and of their outlines."""
        if not all("masks" in target for target in targets):
            raise SettingError(
                "MaskRCNN learns outlines, and these chips have boxes alone: export them as RCNN_Masks, "
                "or use FasterRCNN."
            )
        return summed_losses(self.network, images, targets)

    def detect(
        self,
        images: Tensor,
        *,
        threshold: float = THRESHOLD,
        nms_overlap: float = NMS_OVERLAP,
        mask_threshold: float = MASK_THRESHOLD,
    ) -> list[Objects]:
        """The objects of each chip, the most certain first; at most ``box_detections_per_img``.

        ``masks`` (n, H, W) of bool are their pixels.

        Parameters
        ----------
        mask_threshold
            Least probability of a pixel that belongs to an object.
        """
        size = int(images.shape[-2]), int(images.shape[-1])
        with torch.no_grad():
            found: list[Objects] = self.network(images, threshold=threshold, nms_overlap=nms_overlap)
            for chip in found:
                chip["masks"] = drawn(chip["masks"], chip["boxes"], size, threshold=mask_threshold)
        return found

    def predict(  # type: ignore[override] # its seventh argument is another, as in the reference
        self,
        image_path: Any,
        threshold: float = THRESHOLD,
        nms_overlap: float = NMS_OVERLAP,
        return_scores: bool = True,
        visualize: bool | str | Path = False,
        resize: bool = False,
        tta_prediction: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Boxes, class values and scores of one image; with ``return_masks=True`` also masks.

        See :meth:`ObjectDetector.predict`.
        """
        return super().predict(
            image_path,
            threshold,
            nms_overlap,
            return_scores,
            visualize,
            resize,
            tta_prediction=tta_prediction,
            **kwargs,
        )

    def average_precision_score(
        self,
        detect_thresh: float = 0.5,
        iou_thresh: float = 0.5,
        mean: bool = False,
        show_progress: bool = True,
        tta_prediction: bool = False,
    ) -> dict[str, float] | float:
        """Average precision on the validation set, by the overlap of outlines.

        Parameters
        ----------
        detect_thresh
            Least score of an object that counts, 0..1.
        iou_thresh
            Least intersection over union of a found outline with the true one, above 0 and at most 1.
        mean
            The mean over the classes instead of a number for each.
        show_progress
            Whether a bar shows how far it is.
        tta_prediction
            Find objects in each chip turned and mirrored too, and put together what is found.
        """
        return average_precision(
            self,
            detect_thresh=detect_thresh,
            iou_thresh=iou_thresh,
            mean=mean,
            show_progress=show_progress,
            masks=True,
            tta=tta_prediction,
        )

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """What other software looks for, and on request the average precision of each class."""
        regions = self.settings[1]
        given = {
            name: value
            for name, value in self.spec.parameters.items()
            if name.startswith(("rpn_", "box_")) and hasattr(regions, name)
        }
        figures = precision_facts(self, masks=True) if compute_metrics else {}
        return {"MaskRCNNkwargs": given, **figures}

    def show_results(  # type: ignore[override] # the reference's arguments
        self,
        rows: int = 4,
        mode: str = "mask",
        mask_threshold: float = MASK_THRESHOLD,
        box_threshold: float = _SHOWN,
        tta_prediction: bool = False,
        imsize: float = 5,
        index: int = 0,
        alpha: float = 0.5,
        cmap: str = "tab20",
        **kwargs: Any,
    ) -> Any:
        """Draw chips of the validation set with their objects and those that are found.

        Parameters
        ----------
        rows
            Chips to show.
        mode
            ``mask`` for outlines, ``bbox`` for boxes, ``bbox_mask`` for both.
        mask_threshold
            Least probability of a pixel that belongs to an object, 0..1.
        box_threshold
            Least score of a found object that is shown, 0..1.
        tta_prediction
            Find objects in each chip turned and mirrored too, and put together what is found.
        imsize
            Side of each picture in inches.
        index
            Chip of the validation set to begin with, counted from 0.
        alpha
            Opacity of outlines, 0..1.
        cmap
            Colours of outlines: a colour map of matplotlib, whose colours neighbours take in turn.
        kwargs
            ``nms_overlap`` (0.1): of found objects of a class that overlap more than this, the most certain
            one is shown; ``rgb_bands``, ``statistics_percent``: see
            :func:`~rasterloom.pipeline.training.pictures.show_results`.
        """
        if mode not in _MODES:
            raise SettingError(f"mode={mode!r} is not known: use one of {', '.join(_MODES)}.")
        checked_fraction("mask_threshold", mask_threshold)
        return ImageryModel.show_results(
            self,
            rows,
            mode=mode,
            mask_threshold=mask_threshold,
            thresh=checked_fraction("box_threshold", box_threshold),
            tta=tta_prediction,
            side=imsize,
            first=index,
            alpha=alpha,
            cmap=cmap,
            **kwargs,
        )
