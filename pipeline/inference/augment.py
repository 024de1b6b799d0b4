"""Test-time augmentation: a chip in its eight flips and rotations, and back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """One of the eight ways to lay a square on itself: quarter turns, then perhaps a flip."""

    quarters: int
    """Counter-clockwise quarter turns, 0..3."""
    flipped: bool
    """Whether the last axis is reversed afterwards."""

    def apply(self, images: Tensor) -> Tensor:
        """Turn (N, C, T, T) images."""
        turned = torch.rot90(images, self.quarters, (-2, -1))
        return turned.flip(-1) if self.flipped else turned

    def undo(self, images: Tensor) -> Tensor:
        """Turn them back."""
        back = images.flip(-1) if self.flipped else images
        return torch.rot90(back, -self.quarters, (-2, -1))

    def undo_boxes(self, boxes: np.ndarray, side: int) -> np.ndarray:
        """Boxes (n, 4), as x1, y1, x2, y2, of turned images with that side, where they lie in the images."""
        x, y = boxes[:, 0::2], boxes[:, 1::2]
        if self.flipped:
            x = side - x
        for _ in range(self.quarters):
            x, y = side - y, x
        return np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1)


DIHEDRAL = tuple(Turn(quarters, flipped) for flipped in (False, True) for quarters in range(4))
"""The dihedral group of the square; the first leaves it as it is."""


def merged(predict: Callable[[Tensor], Tensor], images: Tensor, policy: str) -> Tensor:
    """The predictions for all turns of the images, turned back and merged.

    Parameters
    ----------
    predict
        From images to (N, K, S, S) probabilities of their centres.
    images
        (N, C, T, T).
    policy
        ``mean``, ``max`` or ``min``, taken for each class by itself.
    """
    merges: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mean": torch.add,
        "max": torch.maximum,
        "min": torch.minimum,
    }
    merge = merges[policy]
    total: Tensor | None = None
    for turn in DIHEDRAL:
        found = turn.undo(predict(turn.apply(images)))
        total = found if total is None else merge(total, found)
    assert total is not None, "there are eight turns"
    return total / len(DIHEDRAL) if policy == "mean" else total
