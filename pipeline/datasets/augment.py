"""Random views of chips: crops, turns and mirrors, and mild changes of light."""

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

    Strengths are in the units the network sees, where a band's deviation is 1.
    """

    turns: Turns = Turns.ALL
    brightness: float = 0.1
    """Largest shift of all bands together."""
    contrast: float = 0.1
    """Largest relative change of all bands together."""
    band: float = 0.05
    """Largest shift of each band on its own."""

    def light(self, shape: tuple[int, int], generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """A factor and a shift (N, C, 1, 1) for each band of each chip; ``shape`` is (N, C)."""
        chips, bands = shape
        whole = torch.rand((2, chips, 1, 1, 1), generator=generator) * 2 - 1
        own = torch.rand((chips, bands, 1, 1), generator=generator) * 2 - 1
        factor = (1 + self.contrast * whole[0]).expand(chips, bands, 1, 1)
        return factor, self.brightness * whole[1] + self.band * own


@dataclass(frozen=True)
class Views:
    """One window and one form for each chip of a batch."""

    rows: np.ndarray
    """(n,) first row of each window."""
    cols: np.ndarray
    """(n,) first column."""
    forms: np.ndarray
    """(n,) 0..7: bit 0 mirrors left and right, bit 1 up and down, bit 2 swaps rows and columns."""
    size: tuple[int, int]
    """Height and width of the windows, in pixels."""

    def of(self, chips: np.ndarray) -> np.ndarray:
        """The views of (n, ..., H, W) as one new array (n, ..., height, width) of the same type."""
        height, width = self.size
        views = np.empty((*chips.shape[:-2], height, width), chips.dtype)
        for number, (row, col, form) in enumerate(zip(self.rows, self.cols, self.forms, strict=True)):
            views[number] = turned(chips[number, ..., row : row + height, col : col + width], int(form))
        return views


def turned(chip: np.ndarray, form: int) -> np.ndarray:
    """A view of (..., H, W) in one of its eight forms; forms 4 to 7 have the sides swapped."""
    if form & 4:
        chip = chip.swapaxes(-1, -2)
    if form & 2:
        chip = chip[..., ::-1, :]
    return chip[..., ::-1] if form & 1 else chip


def draw_views(
    count: int,
    *,
    chip: tuple[int, int],
    size: tuple[int, int],
    turns: Turns,
    generator: torch.Generator,
) -> Views:
    """Random windows and forms for a batch.

    Parameters
    ----------
    chip, size
        Height and width of the chips and of the windows in them, in pixels. Windows that are not square keep
        to the four forms that do not swap their sides.
    """
    allowed = [form for form in turns.value if size[0] == size[1] or form < 4]
    rows, cols = (
        torch.randint(0, outer - inner + 1, (count,), generator=generator).numpy()
        for outer, inner in zip(chip, size, strict=True)
    )
    forms = torch.randint(0, len(allowed), (count,), generator=generator).numpy()
    return Views(rows, cols, np.asarray(allowed)[forms], size)


def centre_views(count: int, *, chip: tuple[int, int], size: tuple[int, int]) -> Views:
    """The middle of each chip, unturned."""
    row, col = ((outer - inner) // 2 for outer, inner in zip(chip, size, strict=True))
    return Views(np.full(count, row), np.full(count, col), np.zeros(count, np.int64), size)
