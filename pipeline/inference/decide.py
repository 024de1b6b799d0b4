"""From probabilities to what is written: a class for each pixel, or the probabilities as small numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

QUANTA = 254
"""A probability of 1 as a whole number; 255 marks pixels that hold nothing."""


@dataclass(frozen=True)
class Decision:
    """What a pixel's probabilities lead to."""

    outputs: int
    """Network outputs, K. As a class, this number stands for nothing."""
    has_background: bool
    """Whether output 0 is background."""
    predict_background: bool = True
    """Whether background may win."""
    threshold: float | None = None
    """Least probability of another class; below it a pixel is background, or nothing where there is none."""
    probability: str | None = None
    """``uint8`` or ``float32``: keep the probabilities. None: decide on a class."""

    @property
    def bands(self) -> int:
        return 1 if self.probability is None else self.outputs

    @property
    def dtype(self) -> str:
        """Pixel type of what comes out."""
        if self.probability is not None:
            return self.probability
        return "uint8" if self.outputs < 256 else "int16"

    @property
    def nothing(self) -> float:
        """Value of a pixel without an answer."""
        if self.probability is None:
            return self.outputs
        return 255 if self.probability == "uint8" else float("nan")

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the result of one pixel."""
        return self.bands * np.dtype(self.dtype).itemsize

    def nowhere(self, shape: tuple[int, int]) -> np.ndarray:
        """A (B, H, W) result without an answer anywhere."""
        return np.full((self.bands, *shape), self.nothing, self.dtype)

    def __call__(self, probabilities: Tensor) -> Tensor:
        """Decide on (N, K, H, W) probabilities: (N, B, H, W) of :attr:`dtype`."""
        if self.probability == "float32":
            return probabilities
        if self.probability == "uint8":
            return (probabilities * QUANTA).round_().to(torch.uint8)
        small = torch.uint8 if self.dtype == "uint8" else torch.int16
        return self._classes(probabilities).to(small)[:, None]

    def _classes(self, probabilities: Tensor) -> Tensor:
        if self.threshold is None and (self.predict_background or not self.has_background):
            return probabilities.max(dim=1).indices  # max is twice as fast as argmax on channels_last
        first = 1 if self.has_background else 0
        best, index = probabilities[:, first:].max(dim=1)
        index = index + first
        if self.threshold is None:
            return index
        return index.masked_fill(best < self.threshold, 0 if self.has_background else self.outputs)
