"""The feature extractors a network can stand on, by the names people call them."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rasterloom.models.errors import SettingError

TIMM_PREFIX = "timm:"


@dataclass(frozen=True)
class Backbone:
    """One feature extractor."""

    name: str
    """Its one spelling in settings and packages, such as ``resnet34`` or ``timm:convnext_atto``."""
    encoder: str
    """What segmentation_models_pytorch calls it."""
    weights: str | None
    """Name of its trained weights there; None where timm's own are meant."""

    @property
    def timm_name(self) -> str | None:
        """Its name in timm, or None where it does not come from timm."""
        return self.name.removeprefix(TIMM_PREFIX) if self.name.startswith(TIMM_PREFIX) else None


# mobileone_s0 to _s4 of segmentation_models_pytorch are left out: training them on a CPU in channels_last
# ends the process. The timm networks of those names do train and are found by the same words.
_RESNET = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_RESNEXT = ("resnext50_32x4d", "resnext101_32x8d")
_VGG = ("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
_DENSENET = ("densenet121", "densenet161", "densenet169", "densenet201")
_MOBILENET = ("mobilenet_v2",)

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {name: Backbone(name, name, "imagenet") for name in (*_RESNET, *_RESNEXT, *_VGG, *_DENSENET, *_MOBILENET)}
)
"""Networks with weights from torchvision, ported by segmentation_models_pytorch."""

TIMM_EXAMPLES = (
    "timm:convnext_atto",
    "timm:convnext_tiny",
    "timm:efficientnet_b0",
    "timm:hrnet_w18",
    "timm:mobilenetv3_large_100",
    "timm:regnety_002",
    "timm:resnest14d",
)
"""Networks of timm that have been tried; every other convolutional one is accepted too."""


_NEVER_DILATED = ("timm:hrnet_w18",)


def backbone_names() -> list[str]:
    """The names that are always known, in families."""
    return [*BACKBONES, *TIMM_EXAMPLES]


def dilated_backbone_names() -> list[str]:
    """Those that a network can stand on whose coarsest map is an eighth of the image."""
    return [name for name in backbone_names() if name not in _NEVER_DILATED]


def find_backbone(name: str) -> Backbone:
    """The feature extractor of a name.

    ``timm:NAME``, ``tu-NAME`` and every name that is not in the table mean a network of timm; whether timm
    has it is known only when it is built.

    Raises
    ------
    SettingError
        If the name is not text, or is empty.
    """
    if not isinstance(name, str) or not name.removeprefix(TIMM_PREFIX):
        raise SettingError(f"backbone={name!r} is not a name: use 'resnet34', or 'timm:convnext_tiny', say.")
    if name in BACKBONES:
        return BACKBONES[name]
    plain = name.removeprefix(TIMM_PREFIX).removeprefix("tu-")
    return Backbone(TIMM_PREFIX + plain, "tu-" + plain, None)


def unknown_backbone(name: str, *, timm_names: list[str]) -> SettingError:
    """The error for a name that neither the table nor timm knows, with the names closest to it."""
    plain = name.removeprefix(TIMM_PREFIX)
    close = difflib.get_close_matches(plain, {*BACKBONES, *timm_names}, n=5, cutoff=0.6)
    meant = f"Did you mean {', '.join(close)}? " if close else ""
    return SettingError(
        f"backbone {plain!r} is not known. {meant}Use one of {', '.join(BACKBONES)}, "
        "or 'timm:NAME' with the name of a convolutional network of timm."
    )
