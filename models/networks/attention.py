"""Attention over two dates at once: each place of either date looks at places of both."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.errors import SettingError

PAM_REGIONS = (1, 2, 4, 8)
"""Parts that a side is cut into by each branch of the pyramid."""
_NARROWING = 8
"""Channels over those that queries and keys have."""


@final
class _Regions(nn.Module):
    """Self-attention over both dates within each of ``parts`` x ``parts`` regions; without the residual."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.narrow = max(1, channels // _NARROWING)
        self.query = nn.Conv2d(channels, self.narrow, 1)
        self.key = nn.Conv2d(channels, self.narrow, 1)
        self.value = nn.Conv2d(channels, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (2N, C, h, w), the later dates after all earlier ones; of the same shape again."""
        value = self._tokens(self.value(maps))
        # zeros beyond the narrow queries change no product, and alike widths let torch go without the
        # matrix of all pairs, which outgrows the memory
        wider = (0, value.shape[-1] - self.narrow)
        query, key = (F.pad(self._tokens(layer(maps)), wider) for layer in (self.query, self.key))
        seen = F.scaled_dot_product_attention(query, key, value, scale=self.narrow**-0.5)
        return self._maps(seen, maps.shape)

    def _tokens(self, maps: Tensor) -> Tensor:
        """(regions of all pairs, 1, places of both dates, C)."""
        both, channels, height, width = maps.shape
        cut = maps.reshape(
            2, both // 2, channels, self.parts, height // self.parts, self.parts, width // self.parts
        )
        return cut.permute(1, 3, 5, 0, 4, 6, 2).reshape(both // 2 * self.parts**2, 1, -1, channels)

    def _maps(self, tokens: Tensor, shape: Sequence[int]) -> Tensor:
        both, channels, height, width = shape
        cut = tokens.reshape(
            both // 2, self.parts, self.parts, 2, height // self.parts, width // self.parts, channels
        )
        return cut.permute(3, 0, 6, 1, 4, 2, 5).reshape(both, channels, height, width)


@final
class BasicAttention(nn.Module):
    """BAM: every place of both dates looks at every other one.

    References
    ----------
    Chen and Shi (2020), "A Spatial-Temporal Attention-Based Method and a New Dataset for Remote Sensing Image
    Change Detection", 3.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.regions = _Regions(channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (2N, C, h, w), the later dates after all earlier ones; of the same shape again."""
        seen: Tensor = self.regions(maps) + maps
        return seen


@final
class PyramidAttention(nn.Module):
    """PAM: attention within the whole map and within its halves, quarters and eighths, put together.

    References
    ----------
    As :class:`BasicAttention`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_Regions(channels, parts) for parts in PAM_REGIONS)
        self.joined = nn.Conv2d(channels * len(PAM_REGIONS), channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (2N, C, h, w), the later dates after all earlier ones; of the same shape again.

        ``h`` and ``w`` are multiples of the largest of :data:`PAM_REGIONS`.
        """
        seen: Tensor = self.joined(torch.cat([branch(maps) for branch in self.branches], dim=1)) + maps
        return seen


ATTENTION: dict[str, type[nn.Module]] = {"PAM": PyramidAttention, "BAM": BasicAttention}


def checked_attention(name: object) -> str:
    """The attention in its usual spelling.

    Raises
    ------
    SettingError
        If there is none of this name.
    """
    usual = str(name).upper()
    if usual not in ATTENTION:
        raise SettingError(f"attention_type={name!r} is not known: use {' or '.join(map(repr, ATTENTION))}.")
    return usual
