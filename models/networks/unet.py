"""U-Net on any feature extractor, for any number of bands and classes."""

from dataclasses import dataclass

import segmentation_models_pytorch as smp
import timm
from torch import nn

from rasterloom.models.backbones.names import Backbone, find_backbone, unknown_backbone
from rasterloom.models.backbones.pretrained import fetching
from rasterloom.models.errors import SettingError
from rasterloom.models.settings import checked_flag, checked_integers

DECODER_CHANNELS = (256, 128, 64, 32, 16)
MOST_CHANNELS = 4096


@dataclass(frozen=True, kw_only=True)
class UnetSettings:
    """The shape of a U-Net."""

    backbone: str = "resnet34"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""
    pretrained: bool = True
    """Whether the feature extractor starts from trained weights."""
    encoder_depth: int = 5
    """How many times the image is halved, 3 to 5."""
    decoder_channels: tuple[int, ...] | None = None
    """Channels of each step back up, coarse to fine, one for each halving. None takes 256, 128, 64, 32, 16,
    or the last of these."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "backbone", find_backbone(self.backbone).name)
        checked_flag("pretrained", self.pretrained)
        if self.encoder_depth not in (3, 4, 5) or isinstance(self.encoder_depth, float):
            raise SettingError(f"encoder_depth={self.encoder_depth!r} cannot work: use 3, 4 or 5.")
        if self.decoder_channels is None:
            return
        channels = checked_integers("decoder_channels", self.decoder_channels, least=1, most=MOST_CHANNELS)
        if len(channels) != self.encoder_depth:
            raise SettingError(
                f"decoder_channels={list(channels)} has {len(channels)} steps, but encoder_depth="
                f"{self.encoder_depth}: give {self.encoder_depth} numbers."
            )
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
    backbone = find_backbone(settings.backbone)
    _check_timm(backbone, pretrained=pretrained)
    if not pretrained:
        return _unet(backbone, bands=bands, outputs=outputs, settings=settings, weights=None)
    weights = backbone.weights if backbone.timm_name is None else True
    with fetching(backbone.name):
        return _unet(backbone, bands=bands, outputs=outputs, settings=settings, weights=weights)


def _unet(
    backbone: Backbone, *, bands: int, outputs: int, settings: UnetSettings, weights: str | bool | None
) -> nn.Module:
    try:
        return smp.Unet(
            encoder_name=backbone.encoder,
            encoder_weights=weights,
            encoder_depth=settings.encoder_depth,
            decoder_channels=settings.decoder_channels or DECODER_CHANNELS[-settings.encoder_depth :],
            in_channels=bands,
            classes=outputs,
        )
    except (ValueError, RuntimeError, KeyError, TypeError, AssertionError) as error:
        if backbone.timm_name is None:
            raise
        raise SettingError(
            f"backbone {backbone.name} cannot feed a U-Net ({error}): it needs a network of timm that gives "
            "features at halves of the image, such as convnext_tiny or efficientnet_b0."
        ) from error


def _check_timm(backbone: Backbone, *, pretrained: bool) -> None:
    name = backbone.timm_name
    if name is None:
        return
    # a name with a tag after the dot means one set of weights of the network before it; only names of
    # timm's own list pass, so that a settings file cannot make timm fetch a foreign repository
    if not timm.is_model(name) or ("." in name and not timm.is_model_pretrained(name)):
        raise unknown_backbone(backbone.name, timm_names=timm.list_models())
    if pretrained and not timm.is_model_pretrained(name):
        raise SettingError(f"timm has no trained weights for {name}: use pretrained=False.")
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if config is not None and config.fixed_input_size:
        raise SettingError(
            f"backbone {backbone.name} takes images of {config.input_size[-1]} pixels only: "
            "use a convolutional one, such as timm:convnext_tiny."
        )
