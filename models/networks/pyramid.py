"""Maps of one width from a feature extractor, the fine ones told by the coarse ones."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8
"""Of the normalisation of heads, which does as well with a batch of one chip as with many."""


@final
class TopDown(nn.Module):
    """Brings maps to one width and adds to each what the next coarser one knows.

    References
    ----------
    Lin et al. (2017), "Feature Pyramid Networks for Object Detection".
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """Take maps of these channels, fine to coarse, to ``width`` channels."""
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps fine to coarse, (N, width, H, W) each, of the sizes of the given ones."""
        told: list[Tensor] = []
        for side, features in zip(reversed(self.sides), reversed(maps), strict=True):
            own = side(features)
            if told:
                own = own + F.interpolate(told[-1], size=own.shape[-2:], mode="nearest")
            told.append(own)
        return told[::-1]


def smooth_block(
    inputs: int, width: int, *, kernel: int = 3, stride: int = 1, drop: float = 0.0
) -> nn.Module:
    """A convolution, normalisation in groups of channels, ReLU, and dropout of so many values."""
    convolution = nn.Conv2d(inputs, width, kernel, stride, padding=kernel // 2, bias=False)
    # groups that a width cannot be cut into become one
    norm = nn.GroupNorm(GROUPS if width % GROUPS == 0 else 1, width)
    block = nn.Sequential(convolution, norm, nn.ReLU(inplace=True))
    return block.append(nn.Dropout(drop)) if drop else block
