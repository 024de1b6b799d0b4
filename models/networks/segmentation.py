"""A network for pixels from four parts: encoder, decoder, head, and what is added for training or edges."""

from collections.abc import Sequence
from typing import Any, final

from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.networks.parts import Part
from rasterloom.models.networks.pointrend import PointRend

AUXILIARY_WEIGHT = 0.4
"""Factor of the loss of the side output (Zhao et al. 2017, "Pyramid Scene Parsing Network")."""
FINE_MAPS = (1, 2)
"""Which of the encoder's maps PointRend looks at: those of a half and a quarter of the image's side."""


@final
class SegmentationNetwork(nn.Module):
    """Encoder, decoder and a convolution to logits.

    In inference it answers logits (N, K, H, W). In training it answers those too, or a list of parts where it
    has a side output or points.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        width: int,
        outputs: int,
        auxiliary: nn.Module | None = None,
        points: PointRend | None = None,
        doublings: int = 0,
    ) -> None:
        """Put the parts together and give all but the encoder their first weights.

        Parameters
        ----------
        decoder
            From the list of the encoder's maps to one, of ``width`` channels.
        auxiliary
            From the encoder's second coarsest map to logits, for a side output in training.
        points
            What refines the logits.
        doublings
            How many times the decoder's map is doubled to get the image's grid; for ``points``.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Conv2d(width, outputs, 1)
        self.auxiliary = auxiliary
        self.points = points
        self.doublings = doublings
        initialize_decoder(decoder)
        initialize_head(self.head)
        if auxiliary is not None:
            initialize_decoder(auxiliary)

    def forward(self, images: Tensor) -> Any:
        """Logits of (N, C, H, W) images, or parts of them: see the class."""
        maps = self.encoder(images)
        coarse = self.head(self.decoder(maps))
        if not self.training:
            return self._logits(coarse, maps, images)
        parts = [Part(_resized(coarse, images))]
        if self.points is not None:
            parts.append(self.points.training_part(coarse, fine_maps(maps), images.shape[-2:]))
        if self.auxiliary is not None:
            parts.append(Part(_resized(self.auxiliary(maps[-2]), images), weight=AUXILIARY_WEIGHT))
        return parts if len(parts) > 1 else parts[0].logits

    def _logits(self, coarse: Tensor, maps: Sequence[Tensor], images: Tensor) -> Tensor:
        if self.points is not None:
            coarse = self.points(coarse, fine_maps(maps), doublings=self.doublings)
        return _resized(coarse, images)


def fine_maps(maps: Sequence[Any]) -> list[Any]:
    """Those of the encoder's maps, or of their numbers of channels, that PointRend looks at."""
    return [maps[index] for index in FINE_MAPS]


def _resized(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, size=images.shape[-2:], mode="bilinear")
