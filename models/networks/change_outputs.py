"""From whatever a foreign network says of two dates to scores for every pixel."""

from typing import final

import torch
from torch import Tensor, nn

from rasterloom.models.networks.outputs import PixelOutputs


@final
class TwoImages(nn.Module):
    """A network of two images as one of images that hold the bands of both, the earlier date's first."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> object:
        """What the network says of (N, 2C, H, W) images."""
        before, after = images.chunk(2, dim=1)
        answer: object = self.inner(before, after)
        return answer


@final
class ChangeOutputs(nn.Module):
    """A network of any origin that takes images of two dates and answers (N, K, H, W) float32.

    What it may return is said in :class:`~rasterloom.models.networks.outputs.PixelOutputs`.
    """

    def __init__(self, inner: nn.Module, *, probabilities: bool = False) -> None:
        """Wrap ``inner``, which takes (N, 2C, H, W); ``probabilities``: its answers are no logits."""
        super().__init__()
        self.outputs = PixelOutputs(inner, probabilities=probabilities)

    @property
    def inner(self) -> nn.Module:
        """The network as it was brought."""
        return self.outputs.inner

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Scores of images (N, C, H, W) of both dates.

        Raises
        ------
        ModelMismatchError
            If the answer is not one for every pixel.
        """
        scores: Tensor = self.outputs(torch.cat([before, after], dim=1))
        return scores
