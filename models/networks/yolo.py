"""YOLOv3 on Darknet-53 or another feature extractor: three heads, each told by the coarser one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.encoder import EncoderSettings, build_encoder
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.pyramid import smooth_block
from rasterloom.models.networks.yolo_boxes import PER_CELL, STRIDES, YoloAnchors
from rasterloom.models.settings import checked_integers

TILE_MULTIPLE = STRIDES[-1]
"""What both sides of an image must be a multiple of, in pixels."""
PAPER_SHAPES = (
    (10.0, 13.0),
    (16.0, 30.0),
    (33.0, 23.0),
    (30.0, 61.0),
    (62.0, 45.0),
    (59.0, 119.0),
    (116.0, 90.0),
    (156.0, 198.0),
    (373.0, 326.0),
)
"""Widths and heights of the paper's nine anchors: those of COCO's boxes in images of 416 pixels."""
SHAPES = len(PAPER_SHAPES)
_PRIOR = 0.01
"""First probability that an anchor holds an object: most do not (Lin et al. 2017, "Focal Loss")."""


@dataclass(frozen=True, kw_only=True)
class YoloSettings(EncoderSettings):
    """The anchors and heads of YOLOv3."""

    backbone: str = "timm:darknet53"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""
    anchors: tuple[tuple[float, float], ...] | None = None
    """Nine widths and heights in pixels. None takes those that the data's boxes look like."""
    head_channels: tuple[int, ...] = (128, 256, 512)
    """Widths of the heads at an eighth, a sixteenth and a 32nd of the image's side."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder_depth != len(STRIDES) + 2:
            raise SettingError(
                f"encoder_depth={self.encoder_depth!r} cannot work: YOLOv3 reads maps down to a 32nd of the "
                "image's side, use 5."
            )
        object.__setattr__(self, "anchors", _shapes(PAPER_SHAPES if self.anchors is None else self.anchors))
        widths = checked_integers("head_channels", self.head_channels, least=2, most=4096)
        if len(widths) != len(STRIDES):
            raise SettingError(f"head_channels={list(widths)} cannot work: there are three heads.")
        object.__setattr__(self, "head_channels", widths)

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return TILE_MULTIPLE

    @property
    def shapes(self) -> tuple[tuple[float, float], ...]:
        """The anchors, in ascending area."""
        assert self.anchors is not None, "filled in above"
        return self.anchors


@final
class YoloNetwork(nn.Module):
    """Answers (N, A, 5 + K) for images (N, C, H, W): for each anchor four numbers of its box, a logit that it
    holds an object, and K logits of classes."""

    def __init__(
        self, encoder: nn.Module, channels: Sequence[int], settings: YoloSettings, classes: int
    ) -> None:
        """Put heads for so many classes on an encoder whose maps have these ``channels``, the image first."""
        super().__init__()
        self.encoder = encoder
        self.shapes = settings.shapes
        self.answers = 5 + classes
        widths = settings.head_channels
        self.necks, self.laterals, self.outputs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, width in enumerate(widths):
            inputs = channels[number + 3]
            if number + 1 < len(widths):
                self.laterals.append(smooth_block(widths[number + 1], width, kernel=1))
                inputs += width
            self.necks.append(_neck(inputs, width))
            self.outputs.append(_output(width, self.answers))

    def anchors(self, height: int, width: int, device: torch.device | None = None) -> YoloAnchors:
        """The anchors that the answers for an image of this size are for."""
        return YoloAnchors.over(self.shapes, height, width, device)

    def forward(self, images: Tensor) -> Tensor:
        """The answers for all anchors, in the order of :class:`YoloAnchors`."""
        maps = self.encoder(images)[-len(STRIDES) :]
        found: list[Tensor] = []
        told: Tensor | None = None
        for number in reversed(range(len(STRIDES))):
            features = maps[number]
            if told is not None:
                coarse = F.interpolate(self.laterals[number](told), size=features.shape[-2:], mode="nearest")
                features = torch.cat([coarse, features], dim=1)
            told = self.necks[number](features)
            found.append(self.outputs[number](told))
        shape = len(images), -1, self.answers
        return torch.cat([grid.permute(0, 2, 3, 1).reshape(shape) for grid in reversed(found)], dim=1)


def build_yolo(*, bands: int, classes: int, settings: YoloSettings, pretrained: bool) -> YoloNetwork:
    """A network for images of so many bands.

    Parameters
    ----------
    classes
        Without background, 1 or more.
    pretrained
        Fetch the feature extractor's trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot feed this network.
    PretrainedError
        If its trained weights cannot be had.

    References
    ----------
    Redmon, Farhadi (2018), "YOLOv3: An Incremental Improvement". The necks are shorter than the paper's and
    normalise in groups of channels, so that they learn from small batches.
    """
    encoder = build_encoder(bands=bands, settings=settings, dilated=False, pretrained=pretrained)
    channels = [int(count) for count in encoder.out_channels]  # type: ignore[union-attr] # torch types attributes as tensors too
    if len(channels) <= settings.encoder_depth or not all(channels[3:]):
        raise SettingError(
            f"backbone {settings.backbone} has no maps at 1/8, 1/16 and 1/32 of the image: use darknet53, "
            "resnet34 or timm:convnext_tiny, say."
        )
    return YoloNetwork(encoder, channels, settings, classes)


def _neck(inputs: int, width: int) -> nn.Module:
    """Two times narrow and wide, as the paper has it three times."""
    return nn.Sequential(
        smooth_block(inputs, width // 2, kernel=1),
        smooth_block(width // 2, width),
        smooth_block(width, width // 2, kernel=1),
        smooth_block(width // 2, width),
    )


def _output(width: int, answers: int) -> nn.Module:
    layer = nn.Conv2d(width, PER_CELL * answers, 1)
    nn.init.normal_(layer.weight, std=0.01)
    first = torch.zeros(PER_CELL, answers)
    first[:, 4] = -math.log((1 - _PRIOR) / _PRIOR)
    with torch.no_grad():
        assert layer.bias is not None
        layer.bias.copy_(first.flatten())
    return layer


def _shapes(given: Any) -> tuple[tuple[float, float], ...]:
    wrong = SettingError(
        f"anchors={given!r} cannot work: use {SHAPES} pairs of width and height in pixels, above 0."
    )
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != SHAPES:
        raise wrong
    for pair in given:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            raise wrong
        if not all(
            isinstance(side, int | float) and not isinstance(side, bool) and 0 < side < math.inf
            for side in pair
        ):
            raise wrong
    pairs = [(float(width), float(height)) for width, height in given]
    return tuple(sorted(pairs, key=lambda pair: (pair[0] * pair[1], pair[0])))
