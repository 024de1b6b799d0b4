"""Outlines of the objects that boxes were found for: a small grid over each box, drawn on the image."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import MultiScaleRoIAlign, roi_align

from rasterloom.models.networks.pointrend import PointRend, Windows
from rasterloom.models.networks.pyramid import smooth_block

MOST_MASKS = 64
"""Objects of a chip whose outlines the loss is taken of: more would take memory and tell little new."""
_POOLED = 14
"""Side of what is cut out of the maps for each object (He et al. 2017)."""
_LAYERS = 4
_COARSE = 7
"""Side of the first guess that PointRend goes on from (Kirillov et al. 2019)."""
_DOUBLINGS = 3
"""From there to a grid of 56 over each box: two more, as in the paper, take 16 times as long and are finer
than the pixels of most things on a chip."""
_POINTS_GRID = (56, 56)
"""What training draws points for; PointRend takes one for 16 of its pixels, 196 (paper)."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """Regions of a batch that hold something, and what is known of it."""

    boxes: list[Tensor]
    """(r, 4) xyxy for each image."""
    labels: Tensor
    """(R,) of all of them, from 1."""
    truths: list[Tensor]
    """(k, H, W) for each image, not 0 where its true objects are."""
    matched: list[Tensor]
    """(r,) which of those is in each region."""

    @property
    def owners(self) -> Tensor:
        """(R,) the image of each region, ascending."""
        counts = [torch.full((len(each),), index) for index, each in enumerate(self.boxes)]
        return torch.cat(counts).to(self.labels.device)

    def grids(self, side: int) -> Tensor:
        """(R, side, side) share of each cell of a grid over the region that the object fills."""
        return torch.cat([self._grid(index, side) for index in range(len(self.boxes))])

    def at(self, points: Tensor) -> Tensor:
        """(R, P) int64 whether the object is at points (R, P, 2), shares of the region's width and height."""
        parts = torch.split(points, [len(each) for each in self.boxes])
        found = []
        for boxes, truth, matched, own in zip(self.boxes, self.truths, self.matched, parts, strict=True):
            height, width = truth.shape[-2:]
            places = boxes[:, None, :2] + own * (boxes[:, None, 2:] - boxes[:, None, :2])
            columns, rows = places.long().unbind(2)
            known = truth[matched[:, None], rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
            found.append((known > 0).long())
        return torch.cat(found)

    def _grid(self, index: int, side: int) -> Tensor:
        boxes, matched = self.boxes[index], self.matched[index]
        regions = torch.cat([matched[:, None].to(boxes), boxes], dim=1)
        truth = (self.truths[index] > 0).to(boxes)[:, None]
        return roi_align(truth, regions, side, aligned=True)[:, 0]


class MaskBranch(nn.Module):
    """Looks at the maps of a pyramid where objects are, and says which pixels of each box belong to it."""

    def __init__(self, levels: int) -> None:
        """Look at so many maps, the fine ones."""
        super().__init__()
        names = [str(level) for level in range(levels)]
        self.pool = MultiScaleRoIAlign(names, output_size=_POOLED, sampling_ratio=2)

    @abstractmethod
    def probabilities(self, pooled: Tensor, labels: Tensor, windows: Windows) -> Tensor:
        """(n, M, M) for regions of which ``pooled`` was cut, one at least."""

    @abstractmethod
    def loss_of(self, pooled: Tensor, held: Held, windows: Windows) -> Tensor:
        """The loss of regions, one at least."""

    def forward(
        self, maps: dict[str, Tensor], boxes: Tensor, labels: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Probabilities (n, M, M) over the boxes (n, 4) of one image; ``labels`` from 1."""
        if not len(boxes):
            return boxes.new_zeros(0, _COARSE, _COARSE)
        pooled = self.pool(maps, [boxes], [size])
        return self.probabilities(pooled, labels, _windows(maps, [boxes], size))

    def loss(
        self,
        maps: dict[str, Tensor],
        boxes: Sequence[Tensor],
        matched: Sequence[Tensor],
        labels: Sequence[Tensor],
        targets: Sequence[Any],
        size: tuple[int, int],
    ) -> Tensor:
        """The loss over the regions that hold something; without any 0, with gradients of 0.

        Parameters
        ----------
        boxes, matched, labels
            For each image its regions, the position of the true object of each, and its label, 0 for none.
        targets
            For each image ``masks`` (k, H, W), not 0 where an object is.
        """
        chosen = [_some(torch.where(each > 0)[0]) for each in labels]
        held = Held(
            boxes=[each[index] for each, index in zip(boxes, chosen, strict=True)],
            labels=torch.cat([each[index] for each, index in zip(labels, chosen, strict=True)]),
            truths=[target["masks"] for target in targets],
            matched=[each[index] for each, index in zip(matched, chosen, strict=True)],
        )
        if not len(held.labels):
            return torch.stack([p.sum() * 0.0 for p in self.parameters()]).sum()
        pooled = self.pool(maps, held.boxes, [size] * len(held.boxes))
        return self.loss_of(pooled, held, _windows(maps, held.boxes, size))


@final
class GridMasks(MaskBranch):
    """A grid of 28 over each box.

    References
    ----------
    He, Gkioxari, Dollar, Girshick (2017), "Mask R-CNN".
    """

    def __init__(self, *, levels: int, width: int, channels: int, classes: int) -> None:
        """Fix what goes in and out.

        Parameters
        ----------
        width
            Channels of the maps.
        channels
            Channels of the layers.
        classes
            Without background: each has a grid of its own.
        """
        super().__init__(levels)
        widths = [width, *[channels] * _LAYERS]
        self.layers = nn.Sequential(*(smooth_block(first, second) for first, second in pairwise(widths)))
        self.enlarge = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.last = nn.Conv2d(channels, classes, 1)

    def probabilities(self, pooled: Tensor, labels: Tensor, windows: Windows) -> Tensor:
        """(n, 28, 28)"""
        return self._logits(pooled, labels).sigmoid()

    def loss_of(self, pooled: Tensor, held: Held, windows: Windows) -> Tensor:
        """Cross entropy of every cell of the grid."""
        logits = self._logits(pooled, held.labels)
        return F.binary_cross_entropy_with_logits(logits, held.grids(logits.shape[-1]))

    def _logits(self, pooled: Tensor, labels: Tensor) -> Tensor:
        grids: Tensor = self.last(self.enlarge(self.layers(pooled)).relu())
        return _of_labels(grids.float(), labels)


@final
class PointRendMasks(MaskBranch):
    """A grid of 56 over each box: a coarse guess, refined where it is in doubt.

    References
    ----------
    Kirillov, Wu, He, Girshick (2019), "PointRend: Image Segmentation as Rendering". Here points are told
    apart as inside or outside, whatever the class.
    """

    def __init__(self, *, levels: int, width: int, channels: int, classes: int) -> None:
        """Fix what goes in and out, as for :class:`GridMasks`."""
        super().__init__(levels)
        wide = 4 * channels
        self.coarse = nn.Sequential(
            smooth_block(width, channels, stride=2),
            nn.Flatten(),
            nn.Linear(channels * _COARSE**2, wide),
            nn.ReLU(inplace=True),
            nn.Linear(wide, classes * _COARSE**2),
            nn.Unflatten(1, (classes, _COARSE, _COARSE)),
        )
        self.points = PointRend(fine_channels=width, outputs=2)

    def probabilities(self, pooled: Tensor, labels: Tensor, windows: Windows) -> Tensor:
        """(n, 56, 56)"""
        pair = _outside_and_inside(self._guess(pooled, labels))
        found: Tensor = self.points(pair, [windows], doublings=_DOUBLINGS)
        return found.softmax(dim=1)[:, 1]

    def loss_of(self, pooled: Tensor, held: Held, windows: Windows) -> Tensor:
        """Cross entropy of the coarse guess, and of points most of which are in doubt."""
        guess = self._guess(pooled, held.labels)
        part = self.points.training_part(_outside_and_inside(guess), [windows], _POINTS_GRID)
        assert part.at is not None, "points have places"
        coarse = F.binary_cross_entropy_with_logits(guess, held.grids(_COARSE))
        return coarse + F.cross_entropy(part.logits.squeeze(-1).float(), held.at(part.at))

    def _guess(self, pooled: Tensor, labels: Tensor) -> Tensor:
        return _of_labels(self.coarse(pooled).float(), labels)


def drawn(probabilities: Tensor, boxes: Tensor, size: tuple[int, int], *, threshold: float = 0.5) -> Tensor:
    """Which pixels of an image belong to each object, (n, H, W) of bool.

    Parameters
    ----------
    probabilities
        (n, M, M), a grid over each box.
    boxes
        (n, 4) xyxy in pixels.
    threshold
        Least probability, at the centre of a pixel and between the centres of cells on a straight line.
    """
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool, device=boxes.device)
    for mask, grid, box in zip(masks, probabilities, boxes.tolist(), strict=True):
        columns, rows = (_covered(box[axis], box[axis + 2], size[1 - axis]) for axis in (0, 1))
        x, y = (_places(span, box[axis], box[axis + 2], grid) for span, axis in ((columns, 0), (rows, 1)))
        places = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=2)[None]
        values = F.grid_sample(grid[None, None], places, padding_mode="border", align_corners=False)
        mask[slice(*rows), slice(*columns)] = values[0, 0] >= threshold
    return masks


def _covered(low: float, high: float, length: int) -> tuple[int, int]:
    """Pixels whose centres are in a span: the first, and the one after the last."""
    first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
    return min(max(first, 0), length), min(max(last, 0), length)


def _places(span: tuple[int, int], low: float, high: float, grid: Tensor) -> Tensor:
    """Where the centres of pixels are in a box, from -1 to 1."""
    centres = torch.arange(*span, device=grid.device, dtype=grid.dtype) + 0.5
    return (centres - low) / max(high - low, 1e-6) * 2 - 1


def _some(indices: Tensor) -> Tensor:
    if len(indices) <= MOST_MASKS:
        return indices
    evenly = torch.linspace(0, len(indices) - 1, MOST_MASKS, device=indices.device)
    return indices[evenly.round().long()]


def _windows(maps: dict[str, Tensor], boxes: Sequence[Tensor], size: tuple[int, int]) -> Windows:
    """The regions over the finest map."""
    height, width = size
    shares = torch.cat(list(boxes)) / boxes[0].new_tensor([width, height, width, height])
    return Windows(maps["0"], shares, tuple(len(each) for each in boxes))


def _of_labels(grids: Tensor, labels: Tensor) -> Tensor:
    """(R, M, M) of (R, K, M, M): the grid of each region's class, from 1."""
    return grids[torch.arange(len(grids), device=grids.device), labels - 1]


def _outside_and_inside(logits: Tensor) -> Tensor:
    """(R, 2, M, M) logits of two classes whose softmax is the sigmoid of (R, M, M)."""
    return torch.stack([-logits, logits], dim=1) / 2
