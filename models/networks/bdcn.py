"""Bi-directional cascade network: each map finds the edges that finer and coarser ones have not found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.encoder import build_encoder
from rasterloom.models.networks.edges import (
    EdgeSettings,
    Fuse,
    as_two_classes,
    on_grid_of,
    seen_maps,
    side_score,
)
from rasterloom.models.networks.parts import Part
from rasterloom.models.settings import checked_integers

MOST_CHANNELS = 1024
DILATIONS = (4, 8, 12)
"""Of a scale enhancement module's convolutions (paper, section 4.1)."""
SIDE_WEIGHT, FUSED_WEIGHT = 0.5, 1.1
"""Factors of the losses (paper, section 4.1)."""


@dataclass(frozen=True, kw_only=True)
class BdcnSettings(EdgeSettings):
    """The shape of a bi-directional cascade network."""

    scale_channels: int = 32
    """Channels of the scale enhancement modules, 1 to 1024."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_integers("scale_channels", [self.scale_channels], least=1, most=MOST_CHANNELS)


@final
class ScaleEnhancement(nn.Module):
    """Features of several scales on one grid: a convolution, and what is around it at growing distances."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.around = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, width, h, w)."""
        own: Tensor = F.relu(self.first(features))
        return own + torch.stack([F.relu(part(own)) for part in self.around]).sum(dim=0)


@final
class BdcnNetwork(nn.Module):
    """In inference logits (N, 2, H, W); in training a part for the fused score and for each cascade's."""

    def __init__(self, encoder: Any, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.seen = seen_maps(encoder)
        self.scales = nn.ModuleList(
            ScaleEnhancement(encoder.out_channels[place], width) for place in self.seen
        )
        self.down = nn.ModuleList(side_score(width) for _ in self.seen)
        self.up = nn.ModuleList(side_score(width) for _ in self.seen)
        self.fuse = Fuse(2 * len(self.seen))
        initialize_decoder(self.scales)

    def forward(self, images: Tensor) -> Any:
        """Scores of images (N, C, H, W): see the class."""
        maps = self.encoder(images)
        scales = [scale(maps[place]) for scale, place in zip(self.scales, self.seen, strict=True)]
        down = on_grid_of(images, _scored(self.down, scales))  # (N, maps, H, W), fine to coarse
        up = on_grid_of(images, _scored(self.up, scales))
        cascades = torch.cat([added_up(down), added_up(up.flip(1)).flip(1)], dim=1)
        fused = self.fuse(cascades)
        if not self.training:
            return as_two_classes(fused)
        sides = (cascades[:, place : place + 1] for place in range(cascades.shape[1]))
        return [Part(fused, weight=FUSED_WEIGHT), *(Part(side, weight=SIDE_WEIGHT) for side in sides)]


def added_up(scores: Tensor) -> Tensor:
    """Each map (N, maps, H, W) with those before it, which learn nothing from it.

    So a map learns what is missing in what the maps before it say together.
    """
    before = scores.detach().cumsum(dim=1) - scores.detach()
    return scores + before


def build_bdcn(*, bands: int, settings: BdcnSettings, pretrained: bool) -> nn.Module:
    """A network from (N, bands, H, W) to logits (N, 2, H, W) of no edge and edge.

    A scale enhancement module stands on the last map of each of the backbone's stages, which every backbone
    has; the paper puts one on each convolution of VGG.

    Parameters
    ----------
    bands
        1 or more.
    pretrained
        Fetch the feature extractor's trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot do this.
    PretrainedError
        If its trained weights cannot be had.

    References
    ----------
    He, Zhang, Yang, Shan and Huang (2019), "Bi-Directional Cascade Network for Perceptual Edge Detection".
    """
    encoder = build_encoder(bands=bands, settings=settings, dilated=False, pretrained=pretrained)
    return BdcnNetwork(encoder, settings.scale_channels)


def _scored(scores: nn.ModuleList, features: Sequence[Tensor]) -> list[Tensor]:
    return [score(own) for score, own in zip(scores, features, strict=True)]
