"""Detectors of two stages: regions that may hold something, then what each of them holds."""

from dataclasses import dataclass, fields
from typing import Any, final

from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign

from rasterloom.models.backbones.encoder import build_encoder
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.detection import FullPrecision, LevelAnchors, anchor_sizes
from rasterloom.models.networks.found import each_once
from rasterloom.models.networks.fpn import FINEST_STRIDE, Pyramid, PyramidSettings, build_pyramid
from rasterloom.models.networks.masks import GridMasks, MaskBranch, PointRendMasks
from rasterloom.models.settings import checked_flag, checked_fraction, checked_integers, checked_numbers

FURTHER = 1
"""Maps beyond the feature extractor's, which only propose regions (Lin et al. 2017)."""
_POOLED = 7
"""Side of what is cut out of the maps for each region (Ren et al. 2015)."""
_MOST = 1_000_000
_COUNTS = ("_top_n_", "_per_im", "head_channels")


@dataclass(frozen=True, kw_only=True)
class RegionSettings:
    """How regions are proposed, chosen for training, and told.

    All but the first three have the names and values of torchvision's Faster R-CNN.
    """

    anchor_sizes: tuple[float, ...] | None = None
    """Side of the boxes that regions start from, in pixels, for each map of the pyramid, fine to coarse: one
    for each halving of the image from the second, and one more. None takes 16, 32, 64 and so on."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width of those boxes."""
    head_channels: int = 1024
    """Width of the layers that tell what a region holds."""
    rpn_pre_nms_top_n_train: int = 2000
    """Most regions of a map before suppression, in training."""
    rpn_pre_nms_top_n_test: int = 1000
    """The same for predictions."""
    rpn_post_nms_top_n_train: int = 2000
    """Most regions of a chip after suppression, in training."""
    rpn_post_nms_top_n_test: int = 1000
    """The same for predictions."""
    rpn_nms_thresh: float = 0.7
    """Of regions that overlap more than this the best one is kept."""
    rpn_fg_iou_thresh: float = 0.7
    """Overlap with a true box from which an anchor should propose it."""
    rpn_bg_iou_thresh: float = 0.3
    """Overlap with all true boxes below which an anchor should propose nothing."""
    rpn_batch_size_per_image: int = 256
    """Anchors of each chip that the loss is taken of."""
    rpn_positive_fraction: float = 0.5
    """Largest share of them that should propose something."""
    box_score_thresh: float = 0.05
    """Least score of an object, whatever ``threshold`` is asked for."""
    box_nms_thresh: float = 0.5
    """Of objects of a class that overlap more than this the most certain one is kept, whatever is asked."""
    box_detections_per_img: int = 100
    """Most objects of a chip."""
    box_fg_iou_thresh: float = 0.5
    """Overlap with a true box from which a region should be told as it."""
    box_bg_iou_thresh: float = 0.5
    """Overlap with all true boxes below which a region should be told as background."""
    box_batch_size_per_image: int = 512
    """Regions of each chip that the loss is taken of."""
    box_positive_fraction: float = 0.25
    """Largest share of them that hold something."""

    def __post_init__(self) -> None:
        if self.anchor_sizes is not None:
            self._put("anchor_sizes", checked_numbers("anchor_sizes", self.anchor_sizes, most=_MOST))
        self._put("anchor_ratios", checked_numbers("anchor_ratios", self.anchor_ratios, most=100))
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if any(part in name for part in _COUNTS):
                checked_integers(name, [value], least=1, most=_MOST)
            elif name.startswith(("rpn_", "box_")):
                self._put(name, checked_fraction(name, value))
        for stage in ("rpn", "box"):
            low, high = getattr(self, f"{stage}_bg_iou_thresh"), getattr(self, f"{stage}_fg_iou_thresh")
            if low > high:
                raise SettingError(
                    f"{stage}_bg_iou_thresh={low} is above {stage}_fg_iou_thresh={high}: what is background "
                    f"could also be an object. Use {high} or less."
                )

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """How outlines are told."""

    pointrend: bool = False
    """Whether outlines are refined with PointRend: twice as fine, for objects with sharp corners."""
    mask_channels: int = 256
    """Width of the layers that tell them."""

    def __post_init__(self) -> None:
        checked_flag("pointrend", self.pointrend)
        checked_integers("mask_channels", [self.mask_channels], least=1, most=4096)


@final
class RegionNetwork(nn.Module):
    """In training losses of images (N, C, H, W) and targets; otherwise the objects of each image.

    Images go in as they are: nothing is resized, normalised or turned, so all are of one size and their
    answers do not depend on each other.
    """

    def __init__(
        self,
        encoder: nn.Module,
        pyramid: Pyramid,
        proposals: RegionProposalNetwork,
        regions: RoIHeads,
        masks: MaskBranch | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pyramid = pyramid
        self.proposals = proposals
        self.regions = regions
        self.masks = masks

    def forward(
        self,
        images: Tensor,
        targets: Any = None,
        *,
        threshold: float = 0.0,
        nms_overlap: float = 1.0,
    ) -> Any:
        """Losses by name, or for each image ``boxes``, ``labels``, ``scores`` and perhaps ``masks``.

        Masks are probabilities (n, M, M), a grid over each box.
        """
        size = int(images.shape[-2]), int(images.shape[-1])
        maps = self.pyramid(self.encoder(images))
        proposing = {str(level): each for level, each in enumerate(maps)}
        looked_at = {str(level): each for level, each in enumerate(maps[:-FURTHER])}
        boxes, losses = self.proposals(ImageList(images, [size] * len(images)), proposing, targets)
        if self.training:
            return {**losses, **self._losses(looked_at, boxes, targets, size)}
        # one image at a time: a matrix product rounds by the number of its rows
        return [
            self._found(
                {name: each[index : index + 1] for name, each in looked_at.items()},
                boxes[index],
                size,
                threshold=threshold,
                nms_overlap=nms_overlap,
            )
            for index in range(len(images))
        ]

    def _losses(
        self, maps: dict[str, Tensor], boxes: list[Tensor], targets: Any, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        chosen, matched, labels, moves = self.regions.select_training_samples(boxes, targets)
        logits, deltas = self._told(maps, chosen, size)
        classes, places = fastrcnn_loss(logits, deltas, labels, moves)
        losses: dict[str, Tensor] = {"loss_classifier": classes, "loss_box_reg": places}
        if self.masks is not None:
            losses["loss_mask"] = self.masks.loss(maps, chosen, matched, labels, targets, size)
        return losses

    def _found(
        self,
        maps: dict[str, Tensor],
        boxes: Tensor,
        size: tuple[int, int],
        *,
        threshold: float,
        nms_overlap: float,
    ) -> dict[str, Tensor]:
        logits, deltas = self._told(maps, [boxes], size)
        found, scores, labels = (
            each[0] for each in self.regions.postprocess_detections(logits, deltas, [boxes], [size])
        )
        everything = {"boxes": found, "labels": labels, "scores": scores}
        kept = each_once(everything, threshold=threshold, nms_overlap=nms_overlap)
        if self.masks is not None:
            kept["masks"] = self.masks(maps, kept["boxes"], kept["labels"], size)
        return kept

    def _told(
        self, maps: dict[str, Tensor], boxes: list[Tensor], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        pooled = self.regions.box_roi_pool(maps, boxes, [size] * len(boxes))
        logits, deltas = self.regions.box_predictor(self.regions.box_head(pooled))
        return logits, deltas


def build_regions(
    *,
    bands: int,
    classes: int,
    pyramid: PyramidSettings,
    regions: RegionSettings,
    pretrained: bool,
    masks: MaskSettings | None = None,
) -> RegionNetwork:
    """A Faster R-CNN, or with ``masks`` a Mask R-CNN, from the parts of torchvision.

    Parameters
    ----------
    classes
        Without background, 1 or more.
    pretrained
        Fetch the feature extractor's trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot feed a pyramid, or the settings do not fit it.
    PretrainedError
        If its trained weights cannot be had.

    References
    ----------
    Ren, He, Girshick, Sun (2015), "Faster R-CNN"; Lin et al. (2017), "Feature Pyramid Networks".
    """
    strides = pyramid.strides(finest=FINEST_STRIDE, further=FURTHER)
    sizes = [(size,) for size in anchor_sizes(regions.anchor_sizes, strides)]
    encoder = build_encoder(bands=bands, settings=pyramid, dilated=False, pretrained=pretrained)
    width = pyramid.pyramid_channels
    return RegionNetwork(
        encoder,
        build_pyramid(encoder, pyramid, further=FURTHER),
        _proposals(LevelAnchors(strides, sizes, regions.anchor_ratios), width, regions),
        _region_heads(1 + classes, len(strides) - FURTHER, width, regions),
        None if masks is None else _mask_branch(masks, len(strides) - FURTHER, width, classes),
    )


def _proposals(anchors: LevelAnchors, width: int, settings: RegionSettings) -> RegionProposalNetwork:
    head = FullPrecision(RPNHead(width, anchors.num_anchors_per_location()[0]))
    return RegionProposalNetwork(
        anchors,
        head,
        settings.rpn_fg_iou_thresh,
        settings.rpn_bg_iou_thresh,
        settings.rpn_batch_size_per_image,
        settings.rpn_positive_fraction,
        {"training": settings.rpn_pre_nms_top_n_train, "testing": settings.rpn_pre_nms_top_n_test},
        {"training": settings.rpn_post_nms_top_n_train, "testing": settings.rpn_post_nms_top_n_test},
        settings.rpn_nms_thresh,
    )


def _region_heads(outputs: int, levels: int, width: int, settings: RegionSettings) -> RoIHeads:
    names = [str(level) for level in range(levels)]
    return RoIHeads(
        MultiScaleRoIAlign(names, output_size=_POOLED, sampling_ratio=2),
        TwoMLPHead(width * _POOLED**2, settings.head_channels),
        FullPrecision(FastRCNNPredictor(settings.head_channels, outputs)),
        settings.box_fg_iou_thresh,
        settings.box_bg_iou_thresh,
        settings.box_batch_size_per_image,
        settings.box_positive_fraction,
        None,
        settings.box_score_thresh,
        settings.box_nms_thresh,
        settings.box_detections_per_img,
    )


def _mask_branch(settings: MaskSettings, levels: int, width: int, classes: int) -> MaskBranch:
    kind = PointRendMasks if settings.pointrend else GridMasks
    return kind(levels=levels, width=width, channels=settings.mask_channels, classes=classes)
