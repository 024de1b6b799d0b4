"""STANet: two dates through one feature extractor, attention over both, and how far they are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.encoder import EncoderSettings, build_encoder
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.attention import ATTENTION, PAM_REGIONS, checked_attention
from rasterloom.models.networks.blocks import convolution
from rasterloom.models.networks.unet import MOST_CHANNELS
from rasterloom.models.settings import checked_integers

MARGIN = 2.0
"""Distance from which on changed places are told apart well enough."""
DIVIDE = 1.5
"""Distance that divides change from none. The paper takes half of the margin, which marks too much: the loss
counts the few changed pixels as much as all others, so a place that is as likely changed as not comes to lie
near the margin."""
SHARPNESS = 4.0
"""Logits of a distance of 1: makes the margin a probability of 0.88, and equal dates one of 0.002."""
DECODER_CHANNELS = (96, 256, 64)
ATTENDED_STRIDE = 4
"""Side of the image over that of the maps that attention sees."""
FINEST_STRIDES = (2, 4)
_TINY = 1e-8
"""Keeps the slope of the square root finite where nothing differs."""


@dataclass(frozen=True, kw_only=True)
class StanetSettings(EncoderSettings):
    """The shape of a STANet."""

    backbone: str = "resnet18"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""
    attention_type: str = "PAM"
    """``PAM``, the pyramid, or ``BAM``, attention over the whole map alone."""
    decoder_channels: tuple[int, int, int] = DECODER_CHANNELS
    """Channels that each of the encoder's maps is brought to, of all of them joined, and of the features that
    are compared."""
    finest_stride: int = 4
    """Side of the image over that of the maps that are compared. 4 is that of the paper; 2 adds the encoder's
    finest map behind the attention, for things of a dozen pixels, whose outline 4 would blur."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "attention_type", checked_attention(self.attention_type))
        channels = checked_integers("decoder_channels", self.decoder_channels, least=1, most=MOST_CHANNELS)
        if len(channels) != len(DECODER_CHANNELS):
            raise SettingError(
                f"decoder_channels={list(channels)} has {len(channels)} numbers: give three, such as "
                f"{list(DECODER_CHANNELS)}."
            )
        object.__setattr__(self, "decoder_channels", channels)
        if self.finest_stride not in FINEST_STRIDES or not isinstance(self.finest_stride, int):
            raise SettingError(f"finest_stride={self.finest_stride!r} cannot work: use 2 or 4.")

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        regions = max(PAM_REGIONS) if self.attention_type == "PAM" else 1
        return max(int(2**self.encoder_depth), ATTENDED_STRIDE * regions)


@final
class Stanet(nn.Module):
    """Two images of the same ground to logits of no change and of each kind of change.

    The largest logit of a change is a straight line of the distance between the features of both dates: 0 at
    :data:`DIVIDE`, as the logit of no change always is.

    References
    ----------
    Chen and Shi (2020), "A Spatial-Temporal Attention-Based Method and a New Dataset for Remote Sensing Image
    Change Detection". Kinds of change are added here: the paper knows one.
    """

    def __init__(self, encoder: nn.Module, settings: StanetSettings, *, outputs: int) -> None:
        """Put the parts together and give all but the encoder their first weights.

        Those of attention stay small, so that features pass through it at first.

        Parameters
        ----------
        encoder
            From an image to maps of ``encoder.out_channels``, fine to coarse.
        outputs
            No change and the kinds of change: 2 or more.
        """
        super().__init__()
        each, joined, compared = settings.decoder_channels
        self.encoder = encoder
        _, finest, *widths = list(encoder.out_channels)  # type: ignore[arg-type] # torch types it as a tensor
        self.narrowed = nn.ModuleList(convolution(width, each, kernel=1) for width in widths)
        self.fused = nn.Sequential(
            convolution(each * len(widths), joined, kernel=3), nn.Conv2d(joined, compared, 1)
        )
        self.attention = ATTENTION[settings.attention_type](compared)
        self.refined = _Refined(finest, compared) if settings.finest_stride < ATTENDED_STRIDE else None
        self.kinds = nn.Conv2d(2 * compared, outputs - 1, 1) if outputs > 2 else None
        for part in (self.narrowed, self.fused):
            initialize_decoder(part)
        if self.kinds is not None:
            initialize_head(self.kinds)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits (N, K, H, W) float32 of images (N, C, H, W) of both dates; channel 0 is no change."""
        maps = self.encoder(torch.cat([before, after]))
        seen = self.attention(self._fused(maps[2:]))
        if self.refined is not None:
            seen = self.refined(seen, maps[1])
        first, second = seen.float().chunk(2)
        # half precision would lose the small differences; and what is linear may come before the enlarging
        apart = _enlarged(first - second, before)
        distance = (apart.square().sum(dim=1, keepdim=True) + _TINY).sqrt()
        change = SHARPNESS * (distance - DIVIDE)  # (N, 1, H, W)
        if self.kinds is not None:
            kinds = _enlarged(self.kinds(torch.cat([first, second], dim=1)).float(), before)
            change = change + kinds - kinds.amax(dim=1, keepdim=True)
        return torch.cat([torch.zeros_like(change[:, :1]), change], dim=1)

    def _fused(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of all scales of the encoder as one, (N, C, H / 4, W / 4)."""
        size = maps[0].shape[-2:]
        scales = [
            F.interpolate(layer(found), size=size, mode="bilinear")
            for layer, found in zip(self.narrowed, maps, strict=True)
        ]
        fused: Tensor = self.fused(torch.cat(scales, dim=1))
        return fused


@final
class _Refined(nn.Module):
    """Coarse features with what a finer map knows of outlines."""

    def __init__(self, finest: int, channels: int) -> None:
        super().__init__()
        self.narrowed = convolution(finest, channels, kernel=1)
        self.joined = nn.Sequential(
            convolution(2 * channels, channels, kernel=3), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Features of the size of the finer map."""
        enlarged = _enlarged(coarse, fine)
        joined: Tensor = self.joined(torch.cat([enlarged, self.narrowed(fine)], dim=1))
        return joined


def build_stanet(*, bands: int, outputs: int, settings: StanetSettings, pretrained: bool) -> nn.Module:
    """A network from two images (N, bands, H, W) to logits (N, outputs, H, W).

    Parameters
    ----------
    bands
        Of one date, 1 or more.
    outputs
        No change and the kinds of change: 2 or more.
    pretrained
        Fetch the feature extractor's trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot do this.
    PretrainedError
        If its trained weights cannot be had.
    """
    encoder = build_encoder(bands=bands, settings=settings, dilated=False, pretrained=pretrained)
    return Stanet(encoder, settings, outputs=outputs)


def _enlarged(maps: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(maps, size=images.shape[-2:], mode="bilinear")
