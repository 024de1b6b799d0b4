"""Networks whose file fixes how many chips of which size go through at once."""

from typing import Any, final

import torch
from torch import Tensor, nn

from rasterloom.models.errors import ModelMismatchError
from rasterloom.models.networks.outputs import first_tensor


@final
class FixedShape(nn.Module):
    """Takes any number of chips to a network that takes a fixed number, and refuses sizes it cannot take."""

    def __init__(self, inner: nn.Module, shape: tuple[int | None, ...]) -> None:
        """Wrap a network that takes images of ``shape`` (N, C, H, W), with None for what it leaves open."""
        super().__init__()
        self.inner = inner
        self.batch, self.bands, *self.sides = shape

    def forward(self, images: Tensor) -> Any:
        """The network's answer, for (N, C, H, W) images.

        Raises
        ------
        ModelMismatchError
            If it takes tiles of another size or number of bands.
        """
        self._check(images)
        if self.batch is None or len(images) == self.batch:
            return self.inner(images)
        return torch.cat([self._part(part, self.batch) for part in torch.split(images, self.batch)])

    def _part(self, images: Tensor, size: int) -> Tensor:
        count = len(images)
        if count < size:
            images = torch.cat([images, images[-1:].expand(size - count, *images.shape[1:])])
        return first_tensor(self.inner(images))[:count]

    def _check(self, images: Tensor) -> None:
        if self.bands is not None and images.shape[1] != self.bands:
            raise ModelMismatchError(
                f"the network takes {self.bands} bands and was given {images.shape[1]}: use "
                f"bands={self.bands}."
            )
        for side, wanted in zip(images.shape[2:], self.sides, strict=True):
            if wanted is not None and side != wanted:
                raise ModelMismatchError(
                    f"the network's file fixes tiles of {wanted} pixels, and not {side}: use "
                    f"tile_size={wanted}, or export it again with height and width left open."
                )


def fixed_side(network: nn.Module) -> int | None:
    """The only tile size that a network takes, or None where it takes others too."""
    if not isinstance(network, FixedShape):
        return None
    height, width = network.sides
    if height is not None and width is not None and height != width:
        raise ModelMismatchError(
            f"the network's file fixes tiles of {height} x {width} pixels, and tiles are square: export it "
            "again with a square size, or with height and width left open."
        )
    return height if height is not None else width
