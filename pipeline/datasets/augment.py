"""Which random changes chips go through: turns, zoom, rotation, and mild changes of light."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch


class Turns(Enum):
    """Which of the eight forms of a square a chip may take."""

    ALL = tuple(range(8))
    """Seen from above, any direction is as good as another."""
    MIRROR = (0, 1)
    """Left and right swapped, for pictures in which up is up."""
    NONE = (0,)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The default changes for imagery.

    Strengths of light are in the units the network sees, where a band's deviation is 1.
    """

    turns: Turns = Turns.ALL
    zoom: float = 1.15
    """Largest enlargement; 1 is none."""
    rotation: float = 10.0
    """Largest angle in degrees, to either side; 0 is none."""
    share: float = 0.5
    """Part of the chips that are zoomed and rotated; the others keep their pixels as they are."""
    brightness: float = 0.1
    """Largest shift of all bands together."""
    contrast: float = 0.1
    """Largest relative change of all bands together."""
    band: float = 0.05
    """Largest shift of each band on its own."""

    @property
    def resamples(self) -> bool:
        """Whether any chip is zoomed or rotated."""
        return self.share > 0 and (self.zoom > 1 or self.rotation > 0)

    def light(self, numbers: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """A factor and a shift (N, C, 1, 1) for each band of each chip.

        Parameters
        ----------
        numbers
            (N, 2 + C) random numbers in [0, 1).
        """
        drawn = torch.from_numpy(numbers * 2 - 1)[:, :, None, None]
        factor = 1 + self.contrast * drawn[:, :1]
        shift = self.brightness * drawn[:, 1:2] + self.band * drawn[:, 2:]
        return factor.expand_as(shift), shift
