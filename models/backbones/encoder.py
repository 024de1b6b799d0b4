"""Feature extractors as networks: maps of an image at its halves, quarters, eighths and so on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import timm
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn

from rasterloom.models.backbones.dilation import DILATED_STRIDE, dilate
from rasterloom.models.backbones.names import Backbone, find_backbone, unknown_backbone
from rasterloom.models.backbones.pretrained import fetching
from rasterloom.models.errors import RasterloomError, SettingError
from rasterloom.models.settings import checked_flag

Made = TypeVar("Made", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """What a network stands on."""

    backbone: str = "resnet34"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`."""
    pretrained: bool = True
    """Whether the feature extractor starts from trained weights."""
    encoder_depth: int = 5
    """How many times the image is halved, :attr:`least_depth` to 5."""
    least_depth: ClassVar[int] = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "backbone", find_backbone(self.backbone).name)
        checked_flag("pretrained", self.pretrained)
        depths = list(range(self.least_depth, 6))
        if self.encoder_depth not in depths or not isinstance(self.encoder_depth, int):
            known = f"{', '.join(map(str, depths[:-1]))} or {depths[-1]}"
            raise SettingError(f"encoder_depth={self.encoder_depth!r} cannot work: use {known}.")


def encoder_stride(depth: int, *, dilated: bool) -> int:
    """Side of the image over that of the encoder's coarsest map."""
    return DILATED_STRIDE if dilated else int(2**depth)


def build_encoder(*, bands: int, settings: EncoderSettings, dilated: bool, pretrained: bool) -> nn.Module:
    """A network from (N, bands, H, W) to ``encoder_depth + 1`` maps of ``out_channels``, fine to coarse.

    Parameters
    ----------
    bands
        1 or more. Trained weights are made for three; for another number their first convolution is
        repeated over the bands and scaled so that its sum stays what it was.
    dilated
        Whether the coarsest maps have an eighth of the image's side instead of less.
    pretrained
        Fetch the trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot do this.
    PretrainedError
        If its trained weights cannot be had.
    """

    def make(backbone: Backbone, weights: str | bool | None) -> nn.Module:
        of_timm = backbone.timm_name is not None
        stride = DILATED_STRIDE if dilated and of_timm and settings.encoder_depth > 3 else 32
        encoder: nn.Module = get_encoder(
            backbone.encoder,
            in_channels=bands,
            depth=settings.encoder_depth,
            weights=weights,
            output_stride=stride,
        )
        if dilated and not of_timm:
            dilate(encoder)
        return encoder

    what = "a dilated network" if dilated else "this network"
    return with_backbone(settings.backbone, make, pretrained=pretrained, what=what, dilated=dilated)


def with_backbone(
    name: str,
    make: Callable[[Backbone, str | bool | None], Made],
    *,
    pretrained: bool,
    what: str,
    dilated: bool = False,
    one_size: bool = False,
) -> Made:
    """What ``make`` builds on a backbone with the name of its weights, or None for random ones.

    ``one_size`` says that it builds those too that take images of one size.

    Raises SettingError if the backbone is unknown or cannot feed ``what``, and PretrainedError if its weights
    cannot be had.
    """
    backbone = find_backbone(name)
    _check_timm(backbone, pretrained=pretrained, one_size=one_size)
    try:
        if not pretrained:
            return make(backbone, None)
        with fetching(backbone.name):
            return make(backbone, backbone.weights if backbone.timm_name is None else True)
    except RasterloomError:
        raise
    except (ValueError, RuntimeError, KeyError, TypeError, AssertionError) as error:
        if backbone.timm_name is None:
            raise
        raise _unfit(backbone, what, error, dilated=dilated) from error


def _unfit(backbone: Backbone, what: str, error: Exception, *, dilated: bool) -> SettingError:
    reason = str(error) or type(error).__name__
    if dilated:
        works = (
            "a convolutional network of timm that knows output_stride, such as convnext_tiny or "
            "efficientnet_b0, or pointrend=True, which does without dilation"
        )
    else:
        works = (
            "a network of timm that gives features at halves of the image, such as convnext_tiny or "
            "efficientnet_b0"
        )
    return SettingError(f"backbone {backbone.name} cannot feed {what} ({reason}): it needs {works}.")


def _check_timm(backbone: Backbone, *, pretrained: bool, one_size: bool) -> None:
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
    if config is not None and config.fixed_input_size and not one_size:
        raise SettingError(
            f"backbone {backbone.name} takes images of {config.input_size[-1]} pixels only: "
            "use a convolutional one, such as timm:convnext_tiny."
        )
