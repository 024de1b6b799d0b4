"""What detectors on a feature pyramid share: anchors, and full precision for boxes."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from rasterloom.models.errors import SettingError

ANCHOR_STRIDES = 4
"""Side of a map's smallest anchor over the map's stride, where nothing else is said."""


@final
class LevelAnchors(nn.Module):
    """Boxes that stand on the centres of the cells of each map, every cell with the same shapes.

    As torchvision's proposals ask for them, which its own generator puts on the corners of the cells.
    """

    def __init__(
        self, strides: Sequence[int], sizes: Sequence[Sequence[float]], ratios: Sequence[float]
    ) -> None:
        """Fix the shapes.

        Parameters
        ----------
        strides
            Pixels from one cell to the next, for each map.
        sizes
            Square roots of the areas of the boxes, for each map.
        ratios
            Height over width.
        """
        super().__init__()
        self.strides = tuple(strides)
        self.shapes = [
            [(size / ratio**0.5, size * ratio**0.5) for size in each for ratio in ratios] for each in sizes
        ]

    def num_anchors_per_location(self) -> list[int]:
        """Boxes of each cell, for each map."""
        return [len(shapes) for shapes in self.shapes]

    def forward(self, images: ImageList, maps: Sequence[Tensor]) -> list[Tensor]:
        """(A, 4) xyxy for each image: map by map, row by row, the boxes of a cell together."""
        levels = zip(maps, self.strides, self.shapes, strict=True)
        boxes = torch.cat([_on_cells(each, stride, shapes) for each, stride, shapes in levels])
        return [boxes] * len(images.image_sizes)


@final
class FullPrecision(nn.Module):
    """A head whose answers are float32 whatever precision it works in: boxes and losses need it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *given: Any) -> Any:
        """What the head answers, its tensors as float32."""
        return _full(self.inner(*given))


def anchor_sizes(given: Sequence[float] | None, strides: Sequence[int]) -> list[float]:
    """The size of the anchors of each map: what was given, or four times the stride.

    Raises
    ------
    SettingError
        If there are more or fewer sizes than maps.
    """
    if given is None:
        return [float(ANCHOR_STRIDES * stride) for stride in strides]
    if len(given) != len(strides):
        raise SettingError(
            f"anchor_sizes={list(given)} has {len(given)} sizes, and the pyramid has {len(strides)} maps, of "
            f"strides {list(strides)}: give one size for each map."
        )
    return list(given)


def _on_cells(features: Tensor, stride: int, shapes: Sequence[tuple[float, float]]) -> Tensor:
    height, width = features.shape[-2:]
    device = features.device
    ys = (torch.arange(height, device=device) + 0.5) * stride
    xs = (torch.arange(width, device=device) + 0.5) * stride
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    centres = torch.stack([x, y, x, y], dim=2).reshape(-1, 1, 4)
    halves = torch.tensor([(-w / 2, -h / 2, w / 2, h / 2) for w, h in shapes], device=device)
    return (centres + halves).reshape(-1, 4)


def _full(answer: Any) -> Any:
    if isinstance(answer, Tensor):
        return answer.float()
    if isinstance(answer, dict):
        return {name: _full(value) for name, value in answer.items()}
    return [_full(value) for value in answer]
