"""Stacked hourglasses with two branches that tell each other what they have found."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.networks.blocks import convolution
from rasterloom.models.networks.roads import RoadLogits, RoadSettings

STEM_CHANNELS = 64
"""Of the map of half the image's side, as in the papers."""

_Pair = tuple[Tensor, Tensor]
"""Of the branch for classes and of that for orientations."""


@final
class StackedHourglass(nn.Module):
    """A stem, hourglasses that each refine both answers, and a step up to the image's grid.

    References
    ----------
    Newell, Yang, Deng (2016), "Stacked Hourglass Networks for Human Pose Estimation"; branches and fusion as
    in Batra et al. (2019), "Improved Road Connectivity by Joint Learning of Orientation and Segmentation".
    """

    def __init__(self, *, bands: int, outputs: int, settings: RoadSettings) -> None:
        super().__init__()
        width, sizes = settings.hourglass_channels, (outputs, 1 + settings.orientations)
        stacks = settings.hourglass_stacks
        self.encoder = _Stem(bands, width)
        self.hourglasses = nn.ModuleList(_Hourglass(settings.hourglass_depth, width) for _ in range(stacks))
        self.guesses = nn.ModuleList(_Guess(width, sizes) for _ in range(stacks))
        self.fusions = nn.ModuleList(_Fusion(width, sizes) for _ in range(stacks - 1))
        self.rises = nn.ModuleList(_Rise(width, size) for size in sizes)

    def forward(self, images: Tensor) -> Any:
        """Logits (N, K, H, W) of (N, C, H, W) images; in training :class:`RoadLogits`."""
        half, maps, guesses = self._maps(images)
        if not self.training:
            return _resized(self.rises[0](maps[0], half), images)
        last = tuple(rise(found, half) for rise, found in zip(self.rises, maps, strict=True))
        classes, orientations = zip(*guesses, last, strict=True)
        return RoadLogits(
            tuple(_resized(guess, images) for guess in classes),
            tuple(_resized(guess, images) for guess in orientations),
        )

    def both(self, images: Tensor) -> _Pair:
        """Logits of the classes, (N, K, H, W), and of the orientations, (N, 1 + orientations, H, W)."""
        half, maps, _ = self._maps(images)
        classes, orientations = (
            _resized(rise(found, half), images) for rise, found in zip(self.rises, maps, strict=True)
        )
        return classes, orientations

    def _maps(self, images: Tensor) -> tuple[Tensor, _Pair, list[_Pair]]:
        """The map of half the image's side, the last maps of both branches, and the guesses on the way."""
        half, seen = self.encoder(images)
        guesses: list[_Pair] = []
        for number, (hourglass, guess) in enumerate(zip(self.hourglasses, self.guesses, strict=True)):
            maps, guessed = guess(hourglass(seen))
            guesses.append(guessed)
            if number < len(self.fusions):
                seen = seen + self.fusions[number](maps, guessed)
        return half, maps, guesses


class _Residual(nn.Module):
    """A bottleneck that adds what it finds to what it was given."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = max(1, outputs // 2)
        self.found = nn.Sequential(
            convolution(inputs, inner, kernel=1),
            convolution(inner, inner, kernel=3),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.given = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.given(images) + self.found(images))


class _Stem(nn.Module):
    """Maps of half and of a quarter of the image's side."""

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.to_half = nn.Sequential(
            nn.Conv2d(bands, STEM_CHANNELS, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(STEM_CHANNELS),
            nn.ReLU(),
        )
        self.to_quarter = nn.Sequential(
            _Residual(STEM_CHANNELS, width), nn.MaxPool2d(2), _Residual(width, width), _Residual(width, width)
        )

    def forward(self, images: Tensor) -> _Pair:
        half = self.to_half(images)
        return half, self.to_quarter(half)


class _Hourglass(nn.Module):
    """Down by one way and up by two, with a link at each size."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.link = _Residual(width, width)
        self.down = nn.Sequential(nn.MaxPool2d(2), _Residual(width, width))
        self.inner = _Hourglass(depth - 1, width) if depth > 1 else _Waist(width)
        self.ups = nn.ModuleList(_Residual(width, width) for _ in range(2))

    def forward(self, images: Tensor) -> _Pair:
        link = self.link(images)
        first, second = (
            link + F.interpolate(up(found), scale_factor=2.0, mode="nearest")
            for up, found in zip(self.ups, self.inner(self.down(images)), strict=True)
        )
        return first, second


class _Waist(nn.Module):
    """The smallest map, from which both ways begin."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.found = _Residual(width, width)

    def forward(self, images: Tensor) -> _Pair:
        found = self.found(images)
        return found, found


class _Guess(nn.Module):
    """What each branch makes of its map."""

    def __init__(self, width: int, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(_Residual(width, width) for _ in sizes)
        self.heads = nn.ModuleList(nn.Conv2d(width, size, 1) for size in sizes)

    def forward(self, given: _Pair) -> tuple[_Pair, _Pair]:
        first, second = (refined(found) for refined, found in zip(self.maps, given, strict=True))
        classes, orientations = (head(found) for head, found in zip(self.heads, (first, second), strict=True))
        return (first, second), (classes, orientations)


class _Fusion(nn.Module):
    """Maps and guesses of both branches as one map, which the next hourglass sees too."""

    def __init__(self, width: int, sizes: tuple[int, int]) -> None:
        super().__init__()
        self.joined = nn.Conv2d(2 * width + sum(sizes), width, 1)

    def forward(self, maps: _Pair, guesses: _Pair) -> Tensor:
        joined: Tensor = self.joined(torch.cat([*maps, *guesses], dim=1))
        return joined


class _Rise(nn.Module):
    """From a map of a quarter of the image's side to logits of a half, sharpened by the stem's map."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.joined = nn.Sequential(
            convolution(width + STEM_CHANNELS, STEM_CHANNELS, kernel=3), nn.Conv2d(STEM_CHANNELS, outputs, 1)
        )

    def forward(self, found: Tensor, half: Tensor) -> Tensor:
        larger = F.interpolate(found, scale_factor=2.0, mode="bilinear")
        joined: Tensor = self.joined(torch.cat([larger, half], dim=1))
        return joined


def _resized(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, size=images.shape[-2:], mode="bilinear")
