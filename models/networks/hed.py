"""Holistically nested edge detection: a score on each map of a feature extractor, and their weighted sum."""

from typing import Any, final

from torch import Tensor, nn

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


@final
class HedNetwork(nn.Module):
    """In inference logits (N, 2, H, W); in training a part for the fused score and for each side's."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.seen = seen_maps(encoder)
        self.sides = nn.ModuleList(side_score(encoder.out_channels[place]) for place in self.seen)
        self.fuse = Fuse(len(self.seen))

    def forward(self, images: Tensor) -> Any:
        """Scores of images (N, C, H, W): see the class."""
        maps = self.encoder(images)
        scores = [side(maps[place]) for side, place in zip(self.sides, self.seen, strict=True)]
        sides = on_grid_of(images, scores)  # (N, sides, H, W)
        fused = self.fuse(sides)
        if not self.training:
            return as_two_classes(fused)
        return [Part(fused), *(Part(sides[:, place : place + 1]) for place in range(sides.shape[1]))]


def build_hed(*, bands: int, settings: EdgeSettings, pretrained: bool) -> nn.Module:
    """A network from (N, bands, H, W) to logits (N, 2, H, W) of no edge and edge.

    The answer is the fused score; its loss and those of the sides count alike.

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
    Xie and Tu (2015), "Holistically-Nested Edge Detection".
    """
    return HedNetwork(build_encoder(bands=bands, settings=settings, dilated=False, pretrained=pretrained))
