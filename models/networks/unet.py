"""U-Net on any feature extractor, for any number of bands and classes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import segmentation_models_pytorch as smp
from torch import nn

from rasterloom.models.backbones.encoder import EncoderSettings, with_backbone
from rasterloom.models.backbones.names import Backbone
from rasterloom.models.errors import SettingError
from rasterloom.models.settings import checked_integers

DECODER_CHANNELS = (256, 128, 64, 32, 16)
MOST_CHANNELS = 4096


@dataclass(frozen=True, kw_only=True)
class UnetSettings(EncoderSettings):
    """The shape of a U-Net.

    A shallow one, ``encoder_depth`` 1 or 2, sees few pixels around each: for classes that are told by their
    spectrum, and labels of few pixels.
    """

    least_depth: ClassVar[int] = 1

    decoder_channels: tuple[int, ...] | None = None
    """Channels of each step back up, coarse to fine, one for each halving. None takes 256, 128, 64, 32, 16,
    or the last of these."""

    def __post_init__(self) -> None:
        super().__post_init__()
        channels = check_decoder_channels(self.decoder_channels, self.encoder_depth)
        object.__setattr__(self, "decoder_channels", channels)

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return int(2**self.encoder_depth)


def build_unet(*, bands: int, outputs: int, settings: UnetSettings, pretrained: bool) -> nn.Module:
    """A network from (N, bands, H, W) to logits (N, outputs, H, W).

    Parameters
    ----------
    bands, outputs
        1 or more each. Trained weights are made for three bands; for another number their first
        convolution is repeated over the bands and scaled so that its sum stays what it was.
    settings
        The shape.
    pretrained
        Fetch the feature extractor's trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot feed a U-Net.
    PretrainedError
        If its trained weights cannot be had.

    References
    ----------
    Ronneberger, Fischer, Brox (2015), "U-Net: Convolutional Networks for Biomedical Image Segmentation".
    """

    def make(backbone: Backbone, weights: str | bool | None) -> nn.Module:
        network = smp.Unet(
            encoder_name=backbone.encoder,
            encoder_weights=weights,
            encoder_depth=settings.encoder_depth,
            decoder_channels=decoder_widths(settings.decoder_channels, settings.encoder_depth),
            in_channels=bands,
            classes=outputs,
        )
        if not network.encoder.out_channels[-1]:
            raise ValueError(f"it has no map at 1/{settings.tile_multiple} of the image")
        return network

    return with_backbone(settings.backbone, make, pretrained=pretrained, what="a U-Net")


def check_decoder_channels(given: Any, depth: int) -> tuple[int, ...] | None:
    """The channels of the way up as a tuple, one for each halving; None stays None."""
    if given is None:
        return None
    channels = checked_integers("decoder_channels", given, least=1, most=MOST_CHANNELS)
    if len(channels) != depth:
        raise SettingError(
            f"decoder_channels={list(channels)} has {len(channels)} steps, but encoder_depth="
            f"{depth}: give {depth} numbers."
        )
    return channels


def decoder_widths(given: tuple[int, ...] | None, depth: int) -> tuple[int, ...]:
    """The channels of the way up, coarse to fine."""
    return given or DECODER_CHANNELS[-depth:]
