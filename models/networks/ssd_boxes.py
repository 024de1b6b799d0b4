"""The anchors of a single shot detector: where they stand, whose they are, how they become boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from rasterloom.models.networks.anchors import best_of_each

MATCHED = 0.4
"""Overlap from which an anchor is for a true box."""
DENSE_ZOOMS = (3.0, 4.0)
"""Sides of anchors over the side of a cell, where cells are dense."""
LEAST_CELL = 4.0
"""Side of the cells that the smallest boxes get, in pixels."""
_LARGEST_LOG = 4.0
"""Of a box's side over its anchor's: keeps the exponential finite."""


@final
@dataclass(frozen=True, kw_only=True)
class SsdAnchors:
    """Grids of anchors over images, in pixels of the chips a model was trained on.

    A larger image has more cells of the same size in pixels, so that an object looks the same in it.
    """

    tile: int
    """Side of the chips that the grids are given for."""
    grids: tuple[int, ...]
    """Cells along a side of such a chip."""
    zooms: tuple[float, ...]
    """Sides of anchors over the side of a cell."""
    ratios: tuple[tuple[float, float], ...]
    """Factors of an anchor's height and width."""

    @property
    def per_cell(self) -> int:
        """Anchors of each cell."""
        return len(self.zooms) * len(self.ratios)

    def cells(self, grid: int, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a grid over an image."""
        rows, cols = (max(1, round(side * grid / self.tile)) for side in (height, width))
        return rows, cols

    def shapes(self, grid: int) -> list[tuple[float, float]]:
        """Width and height of the anchors of each cell, in pixels."""
        side = self.tile / grid
        return [(side * zoom * wide, side * zoom * high) for zoom in self.zooms for high, wide in self.ratios]

    def over(self, height: int, width: int, device: torch.device | None = None) -> Tensor:
        """(A, 4) centre x, centre y, width, height: grid by grid, row by row, those of a cell together."""
        return torch.cat([self._of_grid(grid, height, width, device) for grid in self.grids])

    def _of_grid(self, grid: int, height: int, width: int, device: torch.device | None) -> Tensor:
        rows, cols = self.cells(grid, height, width)
        ys = (torch.arange(rows, device=device) + 0.5) * (height / rows)
        xs = (torch.arange(cols, device=device) + 0.5) * (width / cols)
        centres = torch.stack(torch.meshgrid(ys, xs, indexing="ij")[::-1], dim=2).reshape(-1, 1, 2)
        shapes = torch.tensor(self.shapes(grid), device=device)
        each = (len(centres), len(shapes), 2)
        return torch.cat([centres.expand(each), shapes.expand(each)], dim=2).reshape(-1, 4)


def decoded(answers: Tensor, anchors: Tensor, *, bounded: bool) -> Tensor:
    """Boxes xyxy (..., A, 4) from what a network answers for anchors (A, 4).

    Parameters
    ----------
    bounded
        A box keeps its centre within half an anchor and has 0.5 to 1.5 times its sides. Otherwise both are
        free, the sides by an exponential.
    """
    shift, growth = answers[..., :2], answers[..., 2:]
    if bounded:
        centres = anchors[:, :2] + shift.tanh() / 2 * anchors[:, 2:]
        sides = anchors[:, 2:] * (1 + growth.tanh() / 2)
    else:
        centres = anchors[:, :2] + shift * anchors[:, 2:]
        sides = anchors[:, 2:] * growth.clamp(-_LARGEST_LOG, _LARGEST_LOG).exp()
    return box_convert(torch.cat([centres, sides], dim=-1), "cxcywh", "xyxy")


def encoded(boxes: Tensor, anchors: Tensor) -> Tensor:
    """What :func:`decoded`, unbounded, makes boxes xyxy (n, 4) of, from anchors (n, 4)."""
    plain = box_convert(boxes, "xyxy", "cxcywh")
    shift = (plain[:, :2] - anchors[:, :2]) / anchors[:, 2:]
    return torch.cat([shift, (plain[:, 2:] / anchors[:, 2:]).log()], dim=1)


def owners(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Which true box each anchor is for, (A,) int64; -1 for none.

    That is the one it overlaps most, from :data:`MATCHED` on. Every box also has the anchor that overlaps it
    most, or the next best where that is another's own, as long as there are anchors that touch it.

    Parameters
    ----------
    anchors
        (A, 4) centre and sides.
    boxes
        (G, 4) xyxy.
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1, device=anchors.device)
    overlaps = box_iou(box_convert(anchors, "cxcywh", "xyxy"), boxes)  # (A, G)
    most, owner = overlaps.max(dim=1)
    owner = torch.where(most >= MATCHED, owner, -1)
    waiting = torch.arange(len(boxes), device=boxes.device)
    while len(waiting):
        value, anchor = overlaps[:, waiting].max(dim=0)
        touching = value > 0
        waiting, value, anchor = waiting[touching], value[touching], anchor[touching]
        won = best_of_each(anchor, value)
        owner[anchor[won]] = waiting[won]
        overlaps[anchor[won]] = 0  # taken
        lost = torch.ones_like(waiting, dtype=torch.bool)
        lost[won] = False
        waiting = waiting[lost]
    return owner


def fitting_grids(sizes: Sequence[Sequence[float]], tile: int) -> list[int]:
    """Grids whose cells are as large as boxes are, fine ones first.

    Parameters
    ----------
    sizes
        Widths and heights of typical boxes, in pixels.
    tile
        Side of a chip.
    """
    return sorted({max(1, round(tile / max(side, LEAST_CELL))) for side in _sides(sizes)}, reverse=True)


def dense_grids(sizes: Sequence[Sequence[float]], tile: int) -> list[int]:
    """Grids with several cells across a box; with :data:`DENSE_ZOOMS` anchors are as large as boxes.

    A thing then lies well within some anchors wherever it is. Measured on generated chips, average precision
    of 0.96 instead of 0.34 after 250 steps.

    Parameters
    ----------
    sizes, tile
        As for :func:`fitting_grids`.
    """
    kept: list[float] = []
    for side in sorted(_sides(sizes)):
        cell = max(side / (sum(DENSE_ZOOMS) / len(DENSE_ZOOMS)), LEAST_CELL)
        # anchors of neighbouring grids are further apart than the zooms of one
        if not kept or cell >= kept[-1] * DENSE_ZOOMS[-1] / DENSE_ZOOMS[0]:
            kept.append(cell)
    return sorted({max(1, round(tile / cell)) for cell in kept}, reverse=True)


def _sides(sizes: Sequence[Sequence[float]]) -> list[float]:
    return [(width * height) ** 0.5 for width, height in sizes]
