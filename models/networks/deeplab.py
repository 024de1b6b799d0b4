"""DeepLabV3: what lies near and far, seen by convolutions of several dilations at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.dilation import DILATED_STRIDE
from rasterloom.models.backbones.encoder import EncoderSettings, build_encoder, encoder_stride
from rasterloom.models.networks.blocks import convolution, projection
from rasterloom.models.networks.pointrend import PointRend, check_dilation
from rasterloom.models.networks.segmentation import SegmentationNetwork, fine_maps
from rasterloom.models.settings import checked_flag, checked_integers

RATES = (12, 24, 36)
"""Dilations on maps of an eighth (paper, section 4.1); on coarser maps they are as many times smaller."""
DROPOUT = 0.5
MOST_CHANNELS = 4096


@dataclass(frozen=True, kw_only=True)
class DeepLabSettings(EncoderSettings):
    """The shape of a DeepLabV3."""

    backbone: str = "resnet101"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""
    pointrend: bool = False
    """Render the edges of classes with PointRend, from an encoder without dilation."""
    keep_dilation: bool = False
    """With PointRend: dilate the encoder all the same, which costs memory."""
    decoder_channels: int = 256
    """Channels of each of the dilated convolutions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_flag("pointrend", self.pointrend)
        check_dilation(pointrend=self.pointrend, keep_dilation=self.keep_dilation)
        checked_integers("decoder_channels", [self.decoder_channels], least=1, most=MOST_CHANNELS)

    @property
    def dilated(self) -> bool:
        """Whether no map is coarser than an eighth."""
        return self.keep_dilation or not self.pointrend

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return encoder_stride(self.encoder_depth, dilated=self.dilated)


def build_deeplab(
    *, bands: int, outputs: int, settings: DeepLabSettings, pretrained: bool, ignored: Sequence[int] = ()
) -> nn.Module:
    """A network from (N, bands, H, W) to logits (N, outputs, H, W).

    Parameters
    ----------
    ignored
        Positions of outputs that are never learnt.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot feed it.
    PretrainedError
        If its trained weights cannot be had.

    References
    ----------
    Chen, Papandreou, Schroff, Adam (2017), "Rethinking Atrous Convolution for Semantic Image Segmentation",
    arXiv 1706.05587.
    """
    encoder = build_encoder(bands=bands, settings=settings, dilated=settings.dilated, pretrained=pretrained)
    channels = list(encoder.out_channels)  # type: ignore[arg-type] # torch types attributes as tensors
    stride = settings.tile_multiple
    points = None
    if settings.pointrend:
        points = PointRend(fine_channels=sum(fine_maps(channels)), outputs=outputs, ignored=ignored)
    return SegmentationNetwork(
        encoder,
        _Atrous(channels[-1], settings.decoder_channels, stride),
        width=settings.decoder_channels,
        outputs=outputs,
        points=points,
        doublings=stride.bit_length() - 1,
    )


class _Atrous(nn.Module):
    """From the encoder's maps to one of its coarsest map's size."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        rates = [max(1, rate * DILATED_STRIDE // stride) for rate in RATES]
        self.branches = nn.ModuleList(
            [
                convolution(inputs, width, kernel=1),
                *(convolution(inputs, width, kernel=3, dilation=rate) for rate in rates),
            ]
        )
        self.whole = projection(inputs, width)
        self.joined = nn.Sequential(
            convolution(width * (len(rates) + 2), width, kernel=1),
            nn.Dropout(DROPOUT),
            convolution(width, width, kernel=3),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        coarsest = maps[-1]
        whole = self.whole(F.adaptive_avg_pool2d(coarsest, 1))
        found = [branch(coarsest) for branch in self.branches]
        found.append(F.interpolate(whole, size=coarsest.shape[-2:], mode="bilinear"))
        joined: Tensor = self.joined(torch.cat(found, dim=1))
        return joined
