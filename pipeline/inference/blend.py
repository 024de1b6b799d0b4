"""Put the predictions of chips together: centres side by side, or whole tiles weighted over each other."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rasterloom.pipeline.inference.decide import Decision

GAUSSIAN_WIDTH = 1 / 8
"""Standard deviation of the gaussian weight, as a share of the tile (as nnU-Net has it)."""


class Canvas(Protocol):
    """Takes the predictions of chips, a mini-batch at a time, in the chips' order."""

    @property
    def centre(self) -> slice:
        """Rows and columns of a prediction that are wanted."""

    def put(self, places: list[tuple[int, int]], found: Tensor) -> None:
        """Lay down (N, K, S, S) probabilities.

        ``places`` are rows and columns of the tiles' upper-left corners in what was read. They may be fewer
        than the predictions: the rest fills the batch up.
        """

    def finish(self) -> np.ndarray:
        """The (B, H, W) result for what was read; where nothing was laid down it means nothing."""


class CroppedCanvas:
    """Keeps the centre of each tile."""

    def __init__(self, shape: tuple[int, int], *, tile: int, padding: int, decision: Decision) -> None:
        self.centre = slice(padding, tile - padding)
        self._decision = decision
        self._kept = decision.nowhere(shape)

    def put(self, places: list[tuple[int, int]], found: Tensor) -> None:
        """Decide at once: only what is written is kept."""
        results = self._decision(found[: len(places)]).cpu().numpy()
        first, stop = self.centre.start, self.centre.stop
        for (row, col), result in zip(places, results, strict=True):
            self._kept[:, row + first : row + stop, col + first : col + stop] = result

    def finish(self) -> np.ndarray:
        return self._kept


class BlendedCanvas:
    """Weighs tiles that lie over each other, and decides when all are there."""

    def __init__(self, shape: tuple[int, int], *, tile: int, blend: str, decision: Decision) -> None:
        self.centre = slice(0, tile)
        self._shape, self._decision = shape, decision
        self._weight = tile_weight(tile, blend)
        self._total: Tensor | None = None  # (K, H, W)
        self._weights: Tensor | None = None  # (H, W)

    def put(self, places: list[tuple[int, int]], found: Tensor) -> None:
        """Add in the order of the chips, which is the same for a pixel whatever cell it is computed for."""
        if self._total is None or self._weights is None:
            self._weight = self._weight.to(found.device)
            self._total = torch.zeros(found.shape[1], *self._shape, device=found.device)
            self._weights = torch.zeros(self._shape, device=found.device)
        side = found.shape[-1]
        weighted = found[: len(places)] * self._weight
        for (row, col), probabilities in zip(places, weighted, strict=True):
            self._total[:, row : row + side, col : col + side] += probabilities
            self._weights[row : row + side, col : col + side] += self._weight

    def finish(self) -> np.ndarray:
        if self._total is None or self._weights is None:
            return self._decision.nowhere(self._shape)
        mean = self._total.div_(self._weights.clamp_min(torch.finfo(torch.float32).tiny))
        return self._decision(mean[None])[0].cpu().numpy()


def tile_weight(tile: int, blend: str) -> Tensor:
    """How much each pixel of a tile's prediction counts: most in the middle, above 0 everywhere.

    Parameters
    ----------
    tile
        Side in pixels.
    blend
        ``linear``: falls evenly to the edge. ``gaussian``: falls like a bell an eighth of the tile wide.

    Returns
    -------
    Tensor, (tile, tile), float32, 0 < weight <= 1

    References
    ----------
    Isensee et al. (2021), nnU-Net, doi:10.1038/s41592-020-01008-z: gaussian weights of overlapping tiles.
    """
    distance = np.abs(np.arange(tile) - (tile - 1) / 2)
    if blend == "linear":
        line = 1 - distance / ((tile + 1) / 2)
    else:
        line = np.exp(-0.5 * (distance / (tile * GAUSSIAN_WIDTH)) ** 2)
    weight = torch.from_numpy(np.outer(line, line).astype(np.float32))
    return weight / weight.max()
