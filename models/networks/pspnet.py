"""PSPNet: what the surroundings are, pooled over a pyramid of grids; with or without a U-Net's way up."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.encoder import EncoderSettings, build_encoder, encoder_stride
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.blocks import convolution, projection
from rasterloom.models.networks.pointrend import PointRend, check_dilation
from rasterloom.models.networks.segmentation import SegmentationNetwork, fine_maps
from rasterloom.models.networks.unet import check_decoder_channels, decoder_widths
from rasterloom.models.settings import checked_flag, checked_integers

PYRAMID_SIZES = (1, 2, 3, 6)
MOST_SIZE = 64
WIDTH = 512
"""Channels after the pyramid (paper)."""
DROPOUT = 0.1
_AUXILIARY_SHARE = 4
"""The side output's hidden layer has so many times fewer channels than its input."""
_COARSE_STRIDE = 2
"""With PointRend the way up ends at a quarter, the encoder's map of this number."""


@dataclass(frozen=True, kw_only=True)
class PspSettings(EncoderSettings):
    """The shape of a PSPNet."""

    backbone: str = "resnet50"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""
    use_unet: bool = True
    """Go from the pyramid up to the image's grid as a U-Net does. Otherwise the encoder is dilated and its
    eighths are interpolated, as in the paper."""
    pyramid_sizes: tuple[int, ...] = PYRAMID_SIZES
    """Sides of the grids that the coarsest map is pooled to, 1 to 64."""
    unet_aux_loss: bool = False
    """Train a side output on the encoder too, weighted 0.4. With ``use_unet`` only."""
    pointrend: bool = False
    """Render the edges of classes with PointRend, from coarser maps."""
    keep_dilation: bool = False
    """With PointRend: dilate the encoder, which costs memory."""
    decoder_channels: tuple[int, ...] | None = None
    """Channels of each step up, coarse to fine, one for each halving. None takes those of a U-Net. With
    ``use_unet`` only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("use_unet", "unet_aux_loss", "pointrend"):
            checked_flag(name, getattr(self, name))
        check_dilation(pointrend=self.pointrend, keep_dilation=self.keep_dilation)
        sizes = checked_integers("pyramid_sizes", self.pyramid_sizes, least=1, most=MOST_SIZE)
        if not sizes:
            raise SettingError("pyramid_sizes=[] leaves no pyramid: use [1, 2, 3, 6], say.")
        object.__setattr__(self, "pyramid_sizes", sizes)
        channels = check_decoder_channels(self.decoder_channels, self.encoder_depth)
        object.__setattr__(self, "decoder_channels", channels)
        if self.use_unet:
            return
        if self.unet_aux_loss:
            raise SettingError("unet_aux_loss=True needs the U-Net's way up: use use_unet=True.")
        if channels is not None:
            raise SettingError(
                "decoder_channels shapes the U-Net's way up: use use_unet=True, or leave it out."
            )

    @property
    def dilated(self) -> bool:
        """Whether no map is coarser than an eighth."""
        return self.keep_dilation if self.pointrend else not self.use_unet

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return encoder_stride(self.encoder_depth, dilated=self.dilated)


def build_pspnet(
    *, bands: int, outputs: int, settings: PspSettings, pretrained: bool, ignored: Sequence[int] = ()
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
    Zhao, Shi, Qi, Wang, Jia (2017), "Pyramid Scene Parsing Network", arXiv 1612.01105.
    """
    encoder = build_encoder(bands=bands, settings=settings, dilated=settings.dilated, pretrained=pretrained)
    channels = list(encoder.out_channels)  # type: ignore[arg-type] # torch types attributes as tensors
    decoder: nn.Module
    if settings.use_unet:
        decoder = _PyramidUnet(channels, settings)
        width, stride = decoder.width, 2**_COARSE_STRIDE
    else:
        decoder = _PyramidOnly(channels[-1], settings.pyramid_sizes)
        width, stride = WIDTH, settings.tile_multiple
    points = None
    if settings.pointrend:
        points = PointRend(fine_channels=sum(fine_maps(channels)), outputs=outputs, ignored=ignored)
    return SegmentationNetwork(
        encoder,
        decoder,
        width=width,
        outputs=outputs,
        auxiliary=_side_output(channels[-2], outputs) if settings.unet_aux_loss else None,
        points=points,
        doublings=stride.bit_length() - 1,
    )


class _Pyramid(nn.Module):
    """A map, and beside it what it is on average in the cells of coarser and coarser grids."""

    def __init__(self, inputs: int, sizes: Sequence[int]) -> None:
        super().__init__()
        width = max(1, inputs // len(sizes))
        self.sizes = tuple(sizes)
        self.branches = nn.ModuleList(
            projection(inputs, width) if size == 1 else convolution(inputs, width, kernel=1) for size in sizes
        )
        self.joined = convolution(inputs + width * len(sizes), WIDTH, kernel=3)

    def forward(self, coarsest: Tensor) -> Tensor:
        shape = coarsest.shape[-2:]
        found = [coarsest]
        for size, branch in zip(self.sizes, self.branches, strict=True):
            pooled = branch(F.adaptive_avg_pool2d(coarsest, size))
            found.append(F.interpolate(pooled, size=shape, mode="bilinear"))
        joined: Tensor = self.joined(torch.cat(found, dim=1))
        return joined


class _PyramidOnly(nn.Module):
    """From the encoder's maps to one of its coarsest map's size."""

    def __init__(self, inputs: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.pyramid = _Pyramid(inputs, sizes)
        self.dropout = nn.Dropout2d(DROPOUT)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        found: Tensor = self.dropout(self.pyramid(maps[-1]))
        return found


class _PyramidUnet(nn.Module):
    """From the encoder's maps to one of the image's size, or of a quarter of it for PointRend."""

    def __init__(self, channels: Sequence[int], settings: PspSettings) -> None:
        super().__init__()
        widths = decoder_widths(settings.decoder_channels, settings.encoder_depth)
        steps = settings.encoder_depth - (_COARSE_STRIDE if settings.pointrend else 0)
        self.width = widths[steps - 1]
        self.pyramid = _Pyramid(channels[-1], settings.pyramid_sizes)
        self.up = UnetDecoder([*channels[:-1], WIDTH], widths[:steps], n_blocks=steps)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        found: Tensor = self.up([*maps[:-1], self.pyramid(maps[-1])])
        return found


def _side_output(inputs: int, outputs: int) -> nn.Module:
    width = max(1, inputs // _AUXILIARY_SHARE)
    return nn.Sequential(
        convolution(inputs, width, kernel=3), nn.Dropout2d(DROPOUT), nn.Conv2d(width, outputs, 1)
    )
