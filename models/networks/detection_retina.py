"""RetinaNet: every cell of a feature pyramid says what stands there, in one stage."""

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import box_iou

from rasterloom.models.backbones.encoder import build_encoder
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.detection import FullPrecision, LevelAnchors, anchor_sizes
from rasterloom.models.networks.found import found_objects
from rasterloom.models.networks.fpn import Pyramid, PyramidSettings, build_pyramid, group_norm
from rasterloom.models.settings import checked_numbers

FURTHER = 2
"""Maps beyond the feature extractor's (Lin et al. 2017)."""
_STRIDES = (4, 8)
_FOREGROUND, _BACKGROUND = 0.5, 0.4
"""Overlaps with a true box from which an anchor is for it, and below which it is for nothing (paper)."""


@dataclass(frozen=True, kw_only=True)
class RetinaSettings:
    """The anchors of a RetinaNet."""

    scales: tuple[float, ...] | None = None
    """Factors of the anchors' sides, each of them at every place. None takes 1, 0.8 and 0.63."""
    ratios: tuple[float, ...] | None = None
    """Height over width of the anchors. None takes 0.5, 1 and 2."""
    anchor_sizes: tuple[float, ...] | None = None
    """Side of the anchors of scale 1, in pixels, for each map of the pyramid, fine to coarse. None takes four
    times the map's stride."""
    finest_stride: int = 8
    """Pixels from one cell of the finest map to the next, 4 or 8. 4 sees small objects better, and takes
    about four times as long."""

    def __post_init__(self) -> None:
        scales = (1.0, 0.8, 0.63) if self.scales is None else self.scales
        ratios = (0.5, 1.0, 2.0) if self.ratios is None else self.ratios
        object.__setattr__(self, "scales", checked_numbers("scales", scales, most=100))
        object.__setattr__(self, "ratios", checked_numbers("ratios", ratios, most=100))
        if self.anchor_sizes is not None:
            sizes = checked_numbers("anchor_sizes", self.anchor_sizes, most=1_000_000)
            object.__setattr__(self, "anchor_sizes", sizes)
        if self.finest_stride not in _STRIDES or not isinstance(self.finest_stride, int):
            raise SettingError(f"finest_stride={self.finest_stride!r} cannot work: use 4 or 8.")


@final
class RetinaNetwork(nn.Module):
    """In training losses of images (N, C, H, W) and targets; otherwise the objects of each image.

    Images go in as they are: nothing is resized or normalised, and their answers do not depend on each other.
    """

    def __init__(
        self, encoder: nn.Module, pyramid: Pyramid, head: RetinaNetHead, anchors: LevelAnchors
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pyramid = pyramid
        self.head = FullPrecision(head)
        self.anchors = anchors
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.matcher = Matcher(_FOREGROUND, _BACKGROUND, allow_low_quality_matches=True)

    def forward(
        self, images: Tensor, targets: Any = None, *, threshold: float = 0.0, nms_overlap: float = 1.0
    ) -> Any:
        """Losses by name, or for each image ``boxes``, ``labels`` and ``scores``."""
        size = int(images.shape[-2]), int(images.shape[-1])
        maps = self.pyramid(self.encoder(images))
        answers = self.head(maps)
        anchors = self.anchors(ImageList(images, [size]), maps)[0]
        if self.training:
            return self._losses(answers, anchors, targets)
        return [
            found_objects(
                self.coder.decode_single(moves, anchors),
                logits.sigmoid(),
                size=size,
                threshold=threshold,
                nms_overlap=nms_overlap,
            )
            for logits, moves in zip(answers["cls_logits"], answers["bbox_regression"], strict=True)
        ]

    def _losses(self, answers: dict[str, Tensor], anchors: Tensor, targets: Any) -> dict[str, Tensor]:
        matched = [self._matched(target["boxes"], anchors) for target in targets]
        # the head has an output for each class and none for background, so labels start from 0 there
        known = [{"boxes": target["boxes"], "labels": target["labels"] - 1} for target in targets]
        head: Any = self.head.inner
        losses: dict[str, Tensor] = head.compute_loss(known, answers, [anchors] * len(known), matched)
        return losses

    def _matched(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """(A,) the true box that each anchor is for; negative for background and for what does not count."""
        if not len(boxes):
            return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
        found: Tensor = self.matcher(box_iou(boxes, anchors))
        return found


def build_retina(
    *, bands: int, classes: int, pyramid: PyramidSettings, retina: RetinaSettings, pretrained: bool
) -> RetinaNetwork:
    """A RetinaNet with the head of torchvision.

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
    Lin, Goyal, Girshick, He, Dollar (2017), "Focal Loss for Dense Object Detection".
    """
    assert retina.scales is not None, "filled in by the settings"
    assert retina.ratios is not None, "filled in by the settings"
    strides = pyramid.strides(finest=retina.finest_stride, further=FURTHER)
    sizes = [[size * scale for scale in retina.scales] for size in anchor_sizes(retina.anchor_sizes, strides)]
    encoder = build_encoder(bands=bands, settings=pyramid, dilated=False, pretrained=pretrained)
    width, anchors = pyramid.pyramid_channels, LevelAnchors(strides, sizes, retina.ratios)
    head = RetinaNetHead(width, anchors.num_anchors_per_location()[0], classes, norm_layer=group_norm)
    feet = build_pyramid(encoder, pyramid, finest=retina.finest_stride, further=FURTHER)
    return RetinaNetwork(encoder, feet, head, anchors)
