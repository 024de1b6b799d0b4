"""Networks made to say where an image is bright, to see which answer is about which place."""

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

Made = TypeVar("Made", bound=nn.Module)


class Pooled(nn.Module):
    """An encoder whose maps are the image's first band, averaged, in every channel."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps of the image's whole, half, quarter, ... side."""
        first = images[:, :1]
        return [
            F.avg_pool2d(first, 2**level).expand(-1, count, -1, -1)
            for level, count in enumerate(self.channels)
        ]


def averaging(network: Made) -> Made:
    """The network with an encoder that averages, and convolutions that average the channels of a pixel."""
    network.encoder = Pooled(network.encoder.out_channels)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)
            middle = part.kernel_size[0] // 2, part.kernel_size[1] // 2
            nn.init.constant_(part.weight[:, :, middle[0], middle[1]], 1 / part.weight.shape[1])
    return network
