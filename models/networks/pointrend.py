"""PointRend: fine scores where the coarse ones are in doubt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.parts import Part
from rasterloom.models.settings import checked_flag

WIDTH = 256
"""Channels of each hidden layer (paper)."""
HIDDEN_LAYERS = 3
"""Number of them (paper)."""
OVERSAMPLING = 3
"""Random points drawn for each that is kept in training; the paper's k."""
UNCERTAIN_SHARE = 0.75
"""Share of the kept points that are the least certain ones, the rest is random; the paper's beta."""
TRAINING_SHARE = 16
"""One point for so many pixels of a chip in training."""
_FIRST_DEVIATION = 0.001
"""Of the last layer's first weights: no point has a class before it has learnt."""
REFINED_SHARE = 8
"""One point for so many pixels of the finer grid at each step of inference."""


def check_dilation(*, pointrend: bool, keep_dilation: bool) -> None:
    """Refuse ``keep_dilation`` where there is nothing to keep it from."""
    if checked_flag("keep_dilation", keep_dilation) and not pointrend:
        raise SettingError(
            "keep_dilation=True says what PointRend works on: use it with pointrend=True, or leave it out."
        )


@final
@dataclass(frozen=True)
class Windows:
    """Regions of images, each looked at as an image of its own."""

    maps: Tensor
    """(N, C, h, w)"""
    boxes: Tensor
    """(R, 4) xyxy as shares of the image's width and height, those of the first image first."""
    counts: tuple[int, ...]
    """How many of them each image has."""

    def at(self, points: Tensor) -> Tensor:
        """Bilinear values (R, C, P) at points (R, P, 2), shares of width and height of each region."""
        low, high = self.boxes[:, None, :2], self.boxes[:, None, 2:]
        parts = torch.split(low + points * (high - low), list(self.counts))
        found = []
        for index, places in enumerate(parts):
            values = _at(self.maps[index : index + 1], places.reshape(1, -1, 2))  # (1, C, r * P)
            found.append(values[0].reshape(len(values[0]), *places.shape[:2]).transpose(0, 1))
        return torch.cat(found)


class PointRend(nn.Module):
    """Brings coarse logits to the image's grid, asking a small network again where classes are close.

    In training it gives the scores of points, drawn with torch's generator; in inference the same input
    always gets the same answer.

    References
    ----------
    Kirillov, Wu, He, Girshick (2019), "PointRend: Image Segmentation as Rendering", arXiv 1912.08193.
    """

    def __init__(self, *, fine_channels: int, outputs: int, ignored: Sequence[int] = ()) -> None:
        """Fix what goes in and out.

        Parameters
        ----------
        fine_channels
            Channels of all fine maps together.
        outputs
            Number of the coarse logits, K.
        ignored
            Positions among the outputs that are never learnt: they say nothing about doubt and are no input.
        """
        super().__init__()
        kept = [position for position in range(outputs) if position not in set(ignored)]
        self.register_buffer("kept", torch.tensor(kept), persistent=False)
        widths = [fine_channels, *[WIDTH] * HIDDEN_LAYERS]
        self.hidden = nn.ModuleList(_layer(w + len(kept), WIDTH) for w in widths[:-1])
        self.last = _layer(WIDTH + len(kept), outputs)
        nn.init.normal_(self.last.weight, std=_FIRST_DEVIATION)

    kept: Tensor

    def training_part(self, coarse: Tensor, fine: Sequence[Tensor | Windows], shape: Sequence[int]) -> Part:
        """Scores of random points, most of them where the classes are close.

        Parameters
        ----------
        coarse
            (N, K, h, w) logits.
        fine
            Maps (N, C, h', w') of any sizes, or regions of such maps for each of the N.
        shape
            Height and width of the image.
        """
        count = max(1, shape[0] * shape[1] // TRAINING_SHARE)
        points = self._draw(coarse, count)
        return Part(self._scores(coarse, fine, points).unsqueeze(-1), at=points)

    def forward(self, coarse: Tensor, fine: Sequence[Tensor | Windows], *, doublings: int) -> Tensor:
        """Logits (N, K, h * 2**doublings, w * 2**doublings): subdivided and refined step by step."""
        found = coarse
        for _ in range(doublings):
            doubled = F.interpolate(found, scale_factor=2.0, mode="bilinear")
            found = self._refined(doubled, coarse, fine)
        return found

    def _refined(self, logits: Tensor, coarse: Tensor, fine: Sequence[Tensor | Windows]) -> Tensor:
        """The logits with new ones where they are in doubt."""
        height, width = logits.shape[-2:]
        flat = logits.flatten(2)  # (N, K, h * w)
        where = _largest(self._doubt(flat), height * width // REFINED_SHARE + 1)  # (N, P)
        x, y = where % width, torch.div(where, width, rounding_mode="floor")
        points = torch.stack([(x + 0.5) / width, (y + 0.5) / height], dim=-1)
        scores = self._scores(coarse, fine, points).to(flat.dtype)
        refined = flat.scatter(2, where.unsqueeze(1).expand_as(scores), scores)
        return refined.reshape(*logits.shape)

    def _draw(self, coarse: Tensor, count: int) -> Tensor:
        """(N, count, 2) points, x before y, in 0..1."""
        uncertain = int(UNCERTAIN_SHARE * count)
        # from the CPU's generator whatever the device, so that a seed means the same points
        drawn = torch.rand(len(coarse), OVERSAMPLING * count, 2).to(coarse.device)
        random = torch.rand(len(coarse), count - uncertain, 2).to(coarse.device)
        with torch.no_grad():
            best = self._doubt(_at(coarse, drawn)).topk(uncertain, dim=1).indices
        chosen = drawn.gather(1, best.unsqueeze(-1).expand(-1, -1, 2))
        return torch.cat([chosen, random], dim=1)

    def _doubt(self, scores: Tensor) -> Tensor:
        """(N, P), the larger the closer the two best of (N, K, P) scores are."""
        best = scores.index_select(1, self.kept).float().topk(2, dim=1).values
        return best[:, 1] - best[:, 0]

    def _scores(self, coarse: Tensor, fine: Sequence[Tensor | Windows], points: Tensor) -> Tensor:
        guess = _at(coarse.index_select(1, self.kept), points)  # (N, K', P)
        found = torch.cat([_at(each, points) for each in fine], dim=1)
        for layer in self.hidden:
            found = layer(torch.cat([found, guess], dim=1)).relu()
        scores: Tensor = self.last(torch.cat([found, guess], dim=1))
        return scores


def _layer(inputs: int, outputs: int) -> nn.Conv1d:
    layer = nn.Conv1d(inputs, outputs, 1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.constant_(cast(Tensor, layer.bias), 0)
    return layer


def _largest(values: Tensor, count: int) -> Tensor:
    """Positions (N, count) of the largest of (N, P) values; of equal ones the first, on every device."""
    if torch.onnx.is_in_onnx_export():
        # ONNX has no stable sort, and its TopK takes the first of equal ones, which torch's does not promise
        return values.topk(count, dim=1).indices
    return values.sort(dim=1, descending=True, stable=True).indices[:, :count]


def _at(maps: Tensor | Windows, points: Tensor) -> Tensor:
    """Bilinear values (N, C, P) of maps (N, C, h, w) at points (N, P, 2) in 0..1."""
    if isinstance(maps, Windows):
        return maps.at(points)
    # half precision cannot tell the pixels of a large tile apart
    grid = (2 * points.float() - 1).unsqueeze(2)
    found = F.grid_sample(maps.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.squeeze(3).to(maps.dtype)
