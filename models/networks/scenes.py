"""A network that gives a whole image a score for each class: feature extractor, pooling, two layers."""

from dataclasses import dataclass
from typing import Any, final

import timm
import torch
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from rasterloom.models.backbones.encoder import with_backbone
from rasterloom.models.backbones.names import Backbone, find_backbone
from rasterloom.models.errors import SettingError
from rasterloom.models.settings import checked_flag

TRANSFORMERS = ("timm:vit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:maxvit_tiny_tf_224")
"""Transformers of timm that have been tried."""
HIDDEN = 512
"""Width of the layer between pooled features and scores."""
DROPOUT = (0.25, 0.5)
"""Share of the pooled features, and of the hidden ones, that training leaves out at random."""


@dataclass(frozen=True, kw_only=True)
class SceneNetworkSettings:
    """What shapes the network."""

    backbone: str = "resnet34"
    """Feature extractor; see :mod:`rasterloom.models.backbones.names`. Transformers of timm work too."""
    pretrained: bool = True
    """Whether the feature extractor starts from trained weights."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "backbone", find_backbone(self.backbone).name)
        checked_flag("pretrained", self.pretrained)


def takes_one_size(name: str) -> bool:
    """Whether a backbone is built for images of one size, as most transformers are."""
    plain = find_backbone(name).timm_name
    config = None if plain is None else timm.get_pretrained_cfg(plain, allow_unregistered=True)
    return config is not None and bool(config.fixed_input_size)


def build_scenes(
    *, bands: int, outputs: int, side: int, settings: SceneNetworkSettings, pretrained: bool
) -> "SceneNetwork":
    """A new network from (N, bands, H, W) to logits (N, outputs).

    Parameters
    ----------
    side
        Of the images in pixels, for backbones that are built for images of one size.
    pretrained
        Fetch the trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot do this.
    PretrainedError
        If its trained weights cannot be had.
    """
    one_size = takes_one_size(settings.backbone)

    def make(backbone: Backbone, weights: str | bool | None) -> SceneNetwork:
        if backbone.timm_name is None:
            encoder: Any = get_encoder(backbone.encoder, in_channels=bands, depth=5, weights=weights)
            return SceneNetwork(encoder, width=int(encoder.out_channels[-1]), outputs=outputs, pyramid=True)
        encoder = timm.create_model(
            backbone.timm_name,
            pretrained=bool(weights),
            in_chans=bands,
            num_classes=0,
            global_pool="",
            **({"img_size": side} if one_size else {}),
        )
        return SceneNetwork(encoder, width=int(encoder.num_features), outputs=outputs)

    network = with_backbone(
        settings.backbone, make, pretrained=pretrained, what="a classifier of whole chips", one_size=one_size
    )
    _check_features(network, settings.backbone, bands=bands, side=side)
    return network


@final
class SceneNetwork(nn.Module):
    """Coarse features, their mean and their largest over the image, and two layers to logits (N, K)."""

    def __init__(self, encoder: nn.Module, *, width: int, outputs: int, pyramid: bool = False) -> None:
        """Put the parts together.

        Parameters
        ----------
        encoder
            A network of timm, or with ``pyramid`` one that gives maps from fine to coarse.
        width
            Number of its coarsest features.
        """
        super().__init__()
        self.encoder = encoder
        self.pyramid = pyramid
        # normalisation over the features, not over the batch: a batch may be one chip
        self.head = nn.Sequential(
            nn.LayerNorm(2 * width),
            nn.Dropout(DROPOUT[0]),
            nn.Linear(2 * width, HIDDEN),
            nn.ReLU(inplace=True),
            nn.Dropout(DROPOUT[1]),
            nn.Linear(HIDDEN, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K) of (N, C, H, W) images."""
        return self.scored(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Coarse features (N, F, h, w) of (N, C, H, W) images."""
        encoder: Any = self.encoder
        if self.pyramid:
            maps: Tensor = encoder(images)[-1]
            return maps
        return _as_map(encoder.forward_features(images), encoder)

    def scored(self, features: Tensor) -> Tensor:
        """Logits (N, K) of features (N, F, h, w)."""
        # in one order, whatever the layout of the memory: a sum in another order rounds otherwise
        flat = features.flatten(2).contiguous()
        logits: Tensor = self.head(torch.cat([flat.mean(dim=2), flat.amax(dim=2)], dim=1))
        return logits


def _as_map(features: Tensor, encoder: Any) -> Tensor:
    """What networks of timm give, as (N, F, h, w)."""
    if features.dim() == 4:
        last = getattr(encoder, "output_fmt", None)
        return features.permute(0, 3, 1, 2) if str(getattr(last, "value", last)) == "NHWC" else features
    tokens = features[:, int(getattr(encoder, "num_prefix_tokens", 0)) :]  # (N, h * w, F)
    height, width = encoder.patch_embed.grid_size
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)


def _check_features(network: SceneNetwork, name: str, *, bands: int, side: int) -> None:
    """One look at the backbone: not every network of timm has a map of features."""
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, bands, side, side))
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise SettingError(
            f"backbone {name} cannot give images of {side} pixels one label ({str(error) or error!r}): use "
            "another chip_size, or another backbone, such as resnet34 or timm:convnext_tiny."
        ) from error
    finally:
        network.train(training)
