"""A single shot detector on any feature extractor: grids of anchors, each cell with its own answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.encoder import EncoderSettings, build_encoder, encoder_stride
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.pyramid import TopDown, smooth_block
from rasterloom.models.networks.ssd_boxes import SsdAnchors
from rasterloom.models.settings import checked_flag, checked_integers, checked_numbers

FINEST = 2
"""The finest of the encoder's maps that is looked at: a quarter of the image's side."""
MOST_CELLS = 256
_LARGEST = 100.0
DEFAULT_GRIDS = (4, 2, 1)
"""Where nothing is known of the boxes, as in fast.ai's lesson."""


@dataclass(frozen=True, kw_only=True)
class SsdSettings(EncoderSettings):
    """The anchors, head and loss of a single shot detector."""

    grids: tuple[int, ...] | None = None
    """Cells along a side of a chip, one number for each grid. None takes those that fit the data's boxes."""
    zooms: tuple[float, ...] = (1.0,)
    """Sides of anchors over the side of a cell."""
    ratios: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    """Factors of an anchor's height and width."""
    drop: float = 0.3
    """Share of the head's values that are dropped in training, from 0 and below 1."""
    bias: float = -4.0
    """First bias of the class scores: lower ones expect fewer objects."""
    focal_loss: bool = False
    """Whether anchors that are hard to tell count more."""
    location_loss_factor: float | None = None
    """Share of the loss that is about where boxes are, between 0 and 1. None adds both parts as they are."""
    ssd_version: int = 2
    """1: a head on the coarsest map of the backbone alone, each further grid made from the one before, and
    boxes that stay near their anchors. 2: each grid reads the map whose cells are as large as its own, told
    by the coarser ones, and boxes are free."""
    head_channels: int = 128
    """Width of the head."""

    def __post_init__(self) -> None:
        super().__post_init__()
        grids = DEFAULT_GRIDS if self.grids is None else self.grids
        self._put("grids", _filled("grids", checked_integers("grids", grids, least=1, most=MOST_CELLS)))
        self._put("zooms", checked_numbers("zooms", self.zooms, most=_LARGEST))
        self._put("ratios", _filled("ratios", _pairs(self.ratios)))
        self._put("drop", _number("drop", self.drop, "from 0 and below 1", 0 <= _plain(self.drop) < 1))
        self._put("bias", _number("bias", self.bias, "from -100 to 100", abs(_plain(self.bias)) <= _LARGEST))
        checked_flag("focal_loss", self.focal_loss)
        share = self.location_loss_factor
        if share is not None:
            wanted = "above 0 and below 1, or None"
            self._put(
                "location_loss_factor", _number("location_loss_factor", share, wanted, 0 < _plain(share) < 1)
            )
        if self.ssd_version not in (1, 2) or isinstance(self.ssd_version, bool | float):
            raise SettingError(f"ssd_version={self.ssd_version!r} is not known: use 1 or 2.")
        assert self.grids is not None, "filled in above"
        if self.ssd_version == 1 and list(self.grids) != sorted(self.grids, reverse=True):
            raise SettingError(
                f"grids={list(self.grids)} cannot work with ssd_version=1, where each grid is made from the "
                "one before: give them from fine to coarse, such as [4, 2, 1]."
            )
        checked_integers("head_channels", [self.head_channels], least=1, most=4096)

    def anchors(self, tile: int) -> SsdAnchors:
        """The anchors for chips of this side."""
        assert self.grids is not None, "filled in above"
        return SsdAnchors(tile=tile, grids=self.grids, zooms=self.zooms, ratios=self.ratios)

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@final
class SsdNetwork(nn.Module):
    """Answers (N, A, 4 + K) for images (N, C, H, W): for each anchor four numbers of its box and K logits."""

    def __init__(self, encoder: nn.Module, heads: nn.Module, anchors: SsdAnchors, *, multiple: int) -> None:
        """Put the parts together; images are filled up with zeros to sides that are a ``multiple``."""
        super().__init__()
        self.encoder = encoder
        self.heads = heads
        self.anchors = anchors
        self.multiple = multiple

    def size_over(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what the anchors stand on: an image, filled up."""
        return height + -height % self.multiple, width + -width % self.multiple

    def forward(self, images: Tensor) -> Tensor:
        """The answers for all anchors over :meth:`size_over`, in the order of :meth:`SsdAnchors.over`."""
        height, width = self.size_over(*images.shape[-2:])
        images = F.pad(images, (0, width - images.shape[-1], 0, height - images.shape[-2]))
        cells = [self.anchors.cells(grid, height, width) for grid in self.anchors.grids]
        grids: list[Tensor] = self.heads(self.encoder(images), cells)
        answers = len(images), -1, grids[0].shape[1] // self.anchors.per_cell
        return torch.cat([grid.permute(0, 2, 3, 1).reshape(answers) for grid in grids], dim=1)


@final
class PyramidHeads(nn.Module):
    """A head for each grid on the map of a top-down pyramid whose cells are as large (``ssd_version`` 2)."""

    def __init__(
        self, channels: Sequence[int], settings: SsdSettings, anchors: SsdAnchors, outputs: int
    ) -> None:
        super().__init__()
        width, deepest = settings.head_channels, len(channels) - 1
        self.levels = [_level(anchors.tile / grid, deepest) for grid in anchors.grids]
        self.finest = min(self.levels)
        self.pyramid = TopDown(channels[self.finest :], width)
        self.before = nn.ModuleList(smooth_block(width, width) for _ in anchors.grids)
        self.after = nn.ModuleList(smooth_block(width, width, drop=settings.drop) for _ in anchors.grids)
        self.outputs = nn.ModuleList(
            _answers(width, anchors.per_cell, outputs, settings) for _ in anchors.grids
        )

    def forward(self, maps: Sequence[Tensor], cells: Sequence[tuple[int, int]]) -> list[Tensor]:
        """(N, anchors of a cell * (4 + K), rows, columns) for each grid."""
        told = self.pyramid(maps[self.finest :])
        found = []
        for level, size, before, after, output in zip(
            self.levels, cells, self.before, self.after, self.outputs, strict=True
        ):
            found.append(output(after(_resampled(before(told[level - self.finest]), size))))
        return found


@final
class ChainHeads(nn.Module):
    """The first grid from the coarsest map, each further one from the grid before (``ssd_version`` 1)."""

    def __init__(
        self, channels: Sequence[int], settings: SsdSettings, anchors: SsdAnchors, outputs: int
    ) -> None:
        super().__init__()
        width = settings.head_channels
        self.first = smooth_block(channels[-1], width, drop=settings.drop)
        grids = anchors.grids
        self.steps = nn.ModuleList(
            smooth_block(width, width, stride=2 if fewer else 1, drop=settings.drop)
            for fewer in (False, *(b < a for a, b in pairwise(grids)))
        )
        self.outputs = nn.ModuleList(_answers(width, anchors.per_cell, outputs, settings) for _ in grids)

    def forward(self, maps: Sequence[Tensor], cells: Sequence[tuple[int, int]]) -> list[Tensor]:
        """(N, anchors of a cell * (4 + K), rows, columns) for each grid."""
        features, found = self.first(maps[-1]), []
        for size, step, output in zip(cells, self.steps, self.outputs, strict=True):
            features = _resampled(step(features), size)
            found.append(output(features))
        return found


def build_ssd(*, bands: int, classes: int, tile: int, settings: SsdSettings, pretrained: bool) -> SsdNetwork:
    """A network for images of so many bands.

    Parameters
    ----------
    classes
        Without background, 1 or more.
    tile
        Side of the chips that the grids are for.
    pretrained
        Fetch the feature extractor's trained weights. False gives random ones, whatever the settings say.

    Raises
    ------
    SettingError
        If the backbone is unknown or cannot feed this network.
    PretrainedError
        If its trained weights cannot be had.

    References
    ----------
    Liu et al. (2016), "SSD: Single Shot MultiBox Detector"; the grids, zooms and ratios, the class scores
    without background and the bounded boxes of version 1 are the idea of fast.ai's lesson 9 of 2018.
    """
    encoder = build_encoder(bands=bands, settings=settings, dilated=False, pretrained=pretrained)
    anchors = settings.anchors(tile)
    channels = encoder_channels(encoder, settings)
    heads = PyramidHeads if settings.ssd_version == 2 else ChainHeads
    stride = encoder_stride(settings.encoder_depth, dilated=False)
    return SsdNetwork(encoder, heads(channels, settings, anchors, 4 + classes), anchors, multiple=stride)


def encoder_channels(encoder: nn.Module, settings: EncoderSettings) -> list[int]:
    """Channels of an encoder's maps, the image first; those from a quarter of its side on are there."""
    channels = [int(count) for count in encoder.out_channels]  # type: ignore[union-attr] # torch types attributes as tensors too
    if len(channels) <= settings.encoder_depth or not all(channels[FINEST:]):
        raise SettingError(
            f"backbone {settings.backbone} has no maps at all halves of the image from a quarter on: use "
            "resnet34 or timm:convnext_tiny, say."
        )
    return channels


def _level(cell: float, deepest: int) -> int:
    """Which map to read for cells of so many pixels: the coarsest whose own cells are not larger."""
    return min(max(int(math.log2(cell)) if cell >= 1 else 0, FINEST), deepest)


def _resampled(features: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(features.shape[-2:]) == size:
        return features
    return F.interpolate(features, size=size, mode="bilinear")


def _answers(width: int, per_cell: int, outputs: int, settings: SsdSettings) -> nn.Module:
    layer = nn.Conv2d(width, per_cell * outputs, 3, padding=1)
    nn.init.normal_(layer.weight, std=0.01)
    with torch.no_grad():
        first = torch.zeros(per_cell, outputs)
        first[:, 4:] = settings.bias
        assert layer.bias is not None
        layer.bias.copy_(first.flatten())
    return layer


def _plain(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else math.nan


def _number(name: str, value: Any, wanted: str, right: bool) -> float:
    if not right:
        raise SettingError(f"{name}={value!r} cannot work: use a number {wanted}.")
    return float(value)


def _pairs(given: Any) -> tuple[tuple[float, float], ...]:
    pairs: Sequence[Any] = given if isinstance(given, Sequence) and not isinstance(given, str) else [None]
    wrong = SettingError(
        f"ratios={given!r} cannot work: use a list of pairs, factors of height and width, such as "
        "[[1.0, 1.0], [1.0, 0.5]]."
    )
    if not all(isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2 for pair in pairs):
        raise wrong
    if not all(0 < _plain(value) <= _LARGEST for pair in pairs for value in pair):
        raise wrong
    return tuple((float(high), float(wide)) for high, wide in pairs)


def _filled(name: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise SettingError(f"{name}=[] leaves no anchors: give one at least.")
    return values
