"""What networks for edges share: the maps they look at, scores on the image's grid, and their sum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from segmentation_models_pytorch.encoders.vgg import VGGEncoder
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.encoder import EncoderSettings, encoder_stride


@dataclass(frozen=True, kw_only=True)
class EdgeSettings(EncoderSettings):
    """The shape of a network for edges.

    It looks at as many maps as ``encoder_depth`` says: with VGG at those of the image's own grid and its
    halves, with others from the half on.
    """

    least_depth: ClassVar[int] = 1

    backbone: str = "vgg19"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return encoder_stride(self.encoder_depth, dilated=False)


def seen_maps(encoder: Any) -> list[int]:
    """Which of an encoder's maps hold something to tell edges by, fine to coarse.

    Left out are the image itself, maps without channels, and of VGG the last one, which is only the map
    before it once more, pooled.
    """
    channels = list(encoder.out_channels)
    if isinstance(encoder, VGGEncoder) or getattr(encoder, "_is_vgg_style", False):
        return list(range(len(channels) - 1))
    return [place for place, count in enumerate(channels) if place > 0 and count > 0]


class Fuse(nn.Module):
    """One map of scores from several: a weighted sum, at first their mean."""

    def __init__(self, count: int) -> None:
        """Take ``count`` maps."""
        super().__init__()
        self.sum = nn.Conv2d(count, 1, 1)
        nn.init.constant_(self.sum.weight, 1 / count)
        nn.init.zeros_(_bias(self.sum))

    def forward(self, scores: Tensor) -> Tensor:
        """(N, count, H, W) to (N, 1, H, W)."""
        fused: Tensor = self.sum(scores)
        return fused


def side_score(channels: int) -> nn.Conv2d:
    """A 1 x 1 convolution to the score of being an edge, which at first says the same of every pixel."""
    score = nn.Conv2d(channels, 1, 1)
    nn.init.normal_(score.weight, std=0.01)
    nn.init.zeros_(_bias(score))
    return score


def on_grid_of(images: Tensor, scores: Sequence[Tensor]) -> Tensor:
    """Maps of scores (N, 1, h, w) on the grid of images (N, C, H, W), as channels: (N, count, H, W)."""
    size = images.shape[-2:]
    return torch.cat([F.interpolate(one, size=size, mode="bilinear") for one in scores], dim=1)


def as_two_classes(scores: Tensor) -> Tensor:
    """Logits (N, 2, H, W) of no edge and edge from the score (N, 1, H, W) of being one."""
    return torch.cat([torch.zeros_like(scores), scores], dim=1)


def edge_scores(logits: Tensor) -> Tensor:
    """Scores of being an edge, (N, H, W), from logits (N, 2, H, W)."""
    return logits[:, 1] - logits[:, 0]


def _bias(convolution: nn.Conv2d) -> Tensor:
    bias = convolution.bias
    assert bias is not None
    return bias
