"""What detectors look at: maps of one width at falling resolutions, on any feature extractor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from rasterloom.models.backbones.encoder import EncoderSettings
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.pyramid import GROUPS, TopDown, smooth_block
from rasterloom.models.settings import checked_integers

FINEST_STRIDE = 4
"""Side of the image over that of the finest map that detectors look at."""


@dataclass(frozen=True, kw_only=True)
class PyramidSettings(EncoderSettings):
    """A feature extractor with a feature pyramid on it."""

    backbone: str = "resnet50"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""
    pyramid_channels: int = 256
    """Width of every map of the pyramid."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_integers("pyramid_channels", [self.pyramid_channels], least=1, most=4096)

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return int(2**self.encoder_depth)

    def strides(self, *, finest: int, further: int) -> list[int]:
        """Side of the image over that of each map of a :class:`Pyramid`, fine to coarse."""
        first = finest.bit_length() - 1
        return [2**level for level in range(first, self.encoder_depth + 1 + further)]


@final
class Pyramid(nn.Module):
    """From the maps of a feature extractor to maps of one width, and coarser ones made from the last.

    Normalised in groups of channels, which learns from random weights in batches of any size. The feature
    extractor keeps its own normalisation, which its trained weights were made with.

    References
    ----------
    Lin et al. (2017), "Feature Pyramid Networks for Object Detection"; Wu, He (2018), "Group Normalization".
    """

    def __init__(self, channels: Sequence[int], width: int, *, finest: int, further: int) -> None:
        """Fix what goes in and out.

        Parameters
        ----------
        channels
            Of all maps of the feature extractor, the image itself first.
        width
            Channels of every map that comes out.
        finest
            Stride of the first map that comes out, a power of two.
        further
            Maps beyond those of the feature extractor, each of half the side of the one before.
        """
        super().__init__()
        self.first = finest.bit_length() - 1
        self.top_down = TopDown(channels[self.first :], width)
        self.smooth = nn.ModuleList(smooth_block(width, width) for _ in channels[self.first :])
        self.further = nn.ModuleList(smooth_block(width, width, stride=2) for _ in range(further))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, width, H, W), fine to coarse."""
        told = self.top_down(maps[self.first :])
        found: list[Tensor] = [smooth(each) for smooth, each in zip(self.smooth, told, strict=True)]
        for halve in self.further:
            found.append(halve(found[-1]))
        return found


def build_pyramid(
    encoder: nn.Module, settings: PyramidSettings, *, finest: int = FINEST_STRIDE, further: int
) -> Pyramid:
    """A pyramid on an encoder of :func:`~rasterloom.models.backbones.encoder.build_encoder`.

    Raises
    ------
    SettingError
        If the encoder has no map at one of the halves of the image from ``finest`` on.
    """
    channels = [int(count) for count in encoder.out_channels]  # type: ignore[union-attr] # torch types attributes as tensors too
    first = finest.bit_length() - 1
    if len(channels) != settings.encoder_depth + 1 or not all(channels[first:]):
        raise SettingError(
            f"backbone {settings.backbone} cannot feed a feature pyramid (it has no map at one of the halves "
            f"of the image from 1/{finest} to 1/{settings.tile_multiple}): use resnet50 or "
            "timm:convnext_tiny, say."
        )
    return Pyramid(channels, settings.pyramid_channels, finest=finest, further=further)


def group_norm(width: int) -> nn.GroupNorm:
    """Normalisation in groups of channels; of a width that cannot be cut into groups, of all as one."""
    return nn.GroupNorm(GROUPS if width % GROUPS == 0 else 1, width)
