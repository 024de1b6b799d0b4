"""LinkNet with two ways up from one encoder: to the classes of pixels, and to the orientations of lines."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, final

from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn

from rasterloom.models.backbones.encoder import build_encoder
from rasterloom.models.networks.blocks import convolution
from rasterloom.models.networks.roads import RoadLogits, RoadSettings

WIDTH = 32
"""Channels of the last map of each way, as in the paper of LinkNet."""


def build_linknet(*, bands: int, outputs: int, settings: RoadSettings, pretrained: bool) -> nn.Module:
    """A network from (N, bands, H, W) to logits (N, outputs, H, W); in training :class:`RoadLogits`.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot feed it.
    PretrainedError
        If its trained weights cannot be had.

    References
    ----------
    Chaurasia, Culurciello (2017), "LinkNet: Exploiting Encoder Representations for Efficient Semantic
    Segmentation"; the second way as in Batra et al. (2019), "Improved Road Connectivity by Joint Learning of
    Orientation and Segmentation".
    """
    encoder = build_encoder(bands=bands, settings=settings, dilated=False, pretrained=pretrained)
    return TwoWayLinknet(encoder, outputs=outputs, orientations=settings.orientations)


@final
class TwoWayLinknet(nn.Module):
    """One encoder and two decoders, the second for training, where it makes the encoder see lines whole."""

    def __init__(self, encoder: nn.Module, *, outputs: int, orientations: int) -> None:
        super().__init__()
        self.encoder = encoder
        channels: Any = encoder.out_channels
        self.classes = _WayUp(list(channels), outputs)
        self.orientations = _WayUp(list(channels), 1 + orientations)

    def forward(self, images: Tensor) -> Any:
        """Logits of (N, C, H, W) images; in training :class:`RoadLogits`."""
        if not self.training:
            return self.classes(self.encoder(images))
        classes, orientations = self.both(images)
        return RoadLogits((classes,), (orientations,))

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes, (N, K, H, W), and of the orientations, (N, 1 + orientations, H, W)."""
        maps = self.encoder(images)
        return self.classes(maps), self.orientations(maps)


class _WayUp(nn.Module):
    """From the encoder's maps to logits on the image's grid; each map is added to what comes from below."""

    def __init__(self, channels: Sequence[int], outputs: int) -> None:
        """Take the encoder's ``out_channels``, fine to coarse, the image's own first."""
        super().__init__()
        coarse_to_fine = list(channels[:0:-1])
        # an encoder without a map of a half says that it has no channels there
        self._linked = [bool(count) for count in coarse_to_fine[1:]]
        widths = coarse_to_fine[:1]
        for count in coarse_to_fine[1:]:
            widths.append(count or widths[-1])
        widths.append(WIDTH)
        self.steps = nn.ModuleList(_step(*pair) for pair in pairwise(widths))
        # 3 x 3, because transposed convolutions leave a pattern of their own
        self.head = nn.Conv2d(WIDTH, outputs, 3, padding=1)
        initialize_decoder(self.steps)
        initialize_head(self.head)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        found, *links = reversed(maps[1:])
        for number, step in enumerate(self.steps):
            found = step(found)
            if number < len(links) and self._linked[number]:
                found = found + links[number]
        logits: Tensor = self.head(found)
        return logits


def _step(inputs: int, outputs: int) -> nn.Sequential:
    """To twice the size: narrowed, doubled, widened."""
    inner = max(1, inputs // 4)
    return nn.Sequential(
        convolution(inputs, inner, kernel=1),
        nn.ConvTranspose2d(inner, inner, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        convolution(inner, outputs, kernel=1),
    )
