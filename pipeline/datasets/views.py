"""Windows into chips, turned, zoomed and rotated: how pixels, masks and boxes move together."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from rasterloom.pipeline.datasets.augment import Augmentation, Turns

NUMBERS = 6
"""Random numbers that the view of one chip takes."""


@dataclass(frozen=True)
class Views:
    """One window and one form for each chip of a batch.

    A view lies inside its chip: no pixel is made up, and no object appears twice.
    """

    centres: np.ndarray
    """(n, 2) row and column of each window's middle, in pixels from the chip's upper-left corner."""
    forms: np.ndarray
    """(n,) 0..7: bit 0 mirrors left and right, bit 1 up and down, bit 2 swaps rows and columns."""
    zooms: np.ndarray
    """(n,) enlargement."""
    angles: np.ndarray
    """(n,) degrees that the window is rotated by in the chip."""
    size: tuple[int, int]
    """Height and width of what is seen, in pixels."""

    def __len__(self) -> int:
        return len(self.forms)

    def at(self, chips: np.ndarray) -> "Views":
        """The views of some chips of the batch, in any order and with repeats."""
        return Views(self.centres[chips], self.forms[chips], self.zooms[chips], self.angles[chips], self.size)

    @property
    def resampled(self) -> np.ndarray:
        """(n,) whether pixels have to be computed; the others are moved as they are."""
        return (self.zooms != 1) | (self.angles != 0)

    def of(self, chips: torch.Tensor, *, smooth: bool) -> torch.Tensor:
        """The views of (n, ..., H, W) as one new tensor (n, ..., height, width) on the same device.

        Parameters
        ----------
        smooth
            Whether pixels between pixels are interpolated, as for images, or the nearest one is taken, as
            for classes. Interpolated images are float32.
        """
        height, width = self.size
        computed = self.resampled
        floats = smooth and bool(computed.any())
        if computed.all() and len(self):
            return self._sampled(chips, smooth=smooth).to(torch.float32 if floats else chips.dtype)
        views = torch.empty(
            (*chips.shape[:-2], height, width),
            dtype=torch.float32 if floats else chips.dtype,
            device=chips.device,
        )
        rows, cols = np.rint(self.centres - np.array(self.size) / 2).astype(np.int64).T
        for chip in np.flatnonzero(~computed).tolist():
            window = chips[chip, ..., rows[chip] : rows[chip] + height, cols[chip] : cols[chip] + width]
            views[chip] = turned(window, int(self.forms[chip]))
        if computed.any():
            chosen = np.flatnonzero(computed)
            at = torch.from_numpy(chosen).to(chips.device)
            views[at] = self.at(chosen)._sampled(chips[at], smooth=smooth).to(views.dtype)
        return views

    def boxes(self, boxes: np.ndarray, chips: np.ndarray) -> np.ndarray:
        """Boxes (m, 4) xyxy of some chips as the views see them, not clipped to them.

        A box that is rotated is bounded anew.

        Parameters
        ----------
        chips
            (m,) place in the batch of each box's chip.
        """
        matrices, shifts = self.at(chips).matrices()
        corners = boxes[:, [[0, 1], [2, 1], [0, 3], [2, 3]]].astype(np.float64)  # (box, corner, xy)
        moved = (
            np.linalg.solve(matrices[:, None], (corners - shifts[:, None])[..., None])[..., 0]
            if len(boxes)
            else corners
        )
        return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """From x and y in a view to those in its chip: ``matrix @ xy + shift``, (n, 2, 2) and (n, 2)."""
        height, width = self.size
        mirror_x, mirror_y, swap = (((self.forms >> bit) & 1).astype(bool) for bit in range(3))
        turn = np.zeros((len(self), 2, 2))
        turn[:, 0, 0], turn[:, 1, 1] = np.where(mirror_x, -1.0, 1.0), np.where(mirror_y, -1.0, 1.0)
        turn[swap] = turn[swap][:, ::-1]  # mirrored first, swapped then
        angle = np.deg2rad(self.angles)
        rotation = np.stack(
            [np.stack([np.cos(angle), -np.sin(angle)], -1), np.stack([np.sin(angle), np.cos(angle)], -1)], -2
        )
        matrices = rotation @ turn / self.zooms[:, None, None]
        return matrices, self.centres[:, ::-1] - matrices @ np.array([width / 2, height / 2])

    def _sampled(self, chips: torch.Tensor, *, smooth: bool) -> torch.Tensor:
        planes = chips.reshape(len(chips), -1, *chips.shape[-2:]).float()
        sampled = F.grid_sample(
            planes,
            self._grid((chips.shape[-2], chips.shape[-1]), chips.device),
            mode="bilinear" if smooth else "nearest",
            padding_mode="border",
            align_corners=False,
        )
        return sampled.reshape(*chips.shape[:-2], *self.size)

    def _grid(self, chip: tuple[int, int], device: torch.device) -> torch.Tensor:
        """(n, height, width, 2) x and y of each seen pixel as torch counts, -1 to 1 over the chip."""
        matrices, shifts = self.matrices()
        outer = np.array([chip[1], chip[0]]) / 2  # x, y
        rows, cols = (torch.arange(side, device=device) + 0.5 for side in self.size)
        scaled = torch.from_numpy(matrices / outer[:, None]).float().to(device)
        moved = torch.from_numpy(shifts / outer - 1).float().to(device)
        grid = torch.empty((len(self), *self.size, 2), device=device)
        for axis in (0, 1):
            down = scaled[:, axis, 1, None] * rows + moved[:, axis, None]  # (n, height)
            across = scaled[:, axis, 0, None] * cols  # (n, width)
            torch.add(down[:, :, None], across[:, None, :], out=grid[..., axis])
        return grid


def turned(chip: torch.Tensor, form: int) -> torch.Tensor:
    """(..., H, W) in one of its eight forms; forms 4 to 7 have the sides swapped."""
    if form & 4:
        chip = chip.swapaxes(-1, -2)
    sides = [side for side, bit in ((-2, 2), (-1, 1)) if form & bit]
    return torch.flip(chip, sides) if sides else chip


def draw_views(
    numbers: np.ndarray,
    *,
    limits: np.ndarray,
    size: tuple[int, int],
    augmentation: Augmentation | None = None,
) -> Views:
    """A random view for each chip of a batch.

    Parameters
    ----------
    numbers
        (n, 6) random numbers in [0, 1).
    limits
        (n, 2) height and width of what each chip holds. A view of a chip that is smaller than ``size``
        begins at its upper-left corner and is neither zoomed nor rotated.
    size
        Height and width of the views, in pixels. Views that are not square keep to the four forms that do
        not swap their sides.
    augmentation
        Which changes are made; None moves the window only. A rotated window is zoomed as far as it takes to
        fit into its chip.
    """
    chosen = augmentation or Augmentation(turns=Turns.NONE, share=0.0)
    allowed = np.array([form for form in chosen.turns.value if size[0] == size[1] or form < 4])
    forms = allowed[(numbers[:, 2] * len(allowed)).astype(np.int64)]
    fits = (limits >= np.array(size)).all(axis=1)
    computed = (numbers[:, 3] < chosen.share) & fits & chosen.resamples
    angles = np.where(computed, (2 * numbers[:, 5] - 1) * chosen.rotation, 0.0)
    sine, cosine = np.abs(np.sin(np.deg2rad(angles))), np.cos(np.deg2rad(angles))
    needs = np.stack([size[0] * cosine + size[1] * sine, size[1] * cosine + size[0] * sine], axis=1)
    zooms = np.where(computed, chosen.zoom ** numbers[:, 4], 1.0)
    zooms = np.where(computed, np.maximum(zooms, (needs / limits).max(axis=1)), zooms)
    spans = needs / zooms[:, None]
    free = np.maximum(limits - spans, 0.0)
    # windows that are moved as they are stand on whole pixels
    corners = np.where(computed[:, None], numbers[:, :2] * free, np.floor(numbers[:, :2] * (free + 1)))
    return Views(corners + spans / 2, forms, zooms, angles, size)


def centre_views(*, limits: np.ndarray, size: tuple[int, int]) -> Views:
    """The middle of each chip, as it is; ``limits`` and ``size`` as in :func:`draw_views`."""
    count = len(limits)
    corners = np.maximum(limits - np.array(size), 0) // 2
    still = np.zeros(count, np.int64)
    return Views(corners + np.array(size) / 2, still, np.ones(count), np.zeros(count), size)
