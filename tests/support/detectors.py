"""A detector that makes no mistakes, and scenes to be found by it."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.crs import CRS
from skimage.measure import label, regionprops
from torch import Tensor, nn

CLASSES = ["odd", "even"]
UTM = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_000_000.0)


class ColourDetector(nn.Module):
    """Finds each connected area of one value above 0, with the exact box of what it sees of it.

    Odd values are class 1, even ones class 2; the score goes with the value.
    """

    def __init__(self, *, masks: bool = False) -> None:
        super().__init__()
        self.masks = masks

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        return [self._of(image[0].cpu().numpy().astype(np.int64)) for image in images]

    def _of(self, image: np.ndarray) -> dict[str, Tensor]:
        areas = label(image, background=0, connectivity=1)
        regions = regionprops(areas)
        tops = np.array([region.bbox for region in regions], np.float32).reshape(-1, 4)
        values = np.array([image[tuple(region.coords[0])] for region in regions], np.int64)
        found = {
            "boxes": torch.from_numpy(tops[:, [1, 0, 3, 2]].copy()),
            "labels": torch.from_numpy(np.where(values % 2, 1, 2)),
            "scores": torch.from_numpy((0.5 + values % 50 / 100).astype(np.float32)),
        }
        if self.masks:
            planes = [areas == region.label for region in regions]
            found["masks"] = torch.from_numpy(np.array(planes, np.float32).reshape(-1, *image.shape))
        return found


def colour_model(*, tile_size: int = 32, masks: bool = False, **changes: Any) -> Any:
    """The detector as a model for one band."""
    from rasterloom.models import from_torch

    settings: dict[str, Any] = {"task": "objects", "classes": CLASSES, "bands": 1, "tile_size": tile_size}
    return from_torch(ColourDetector(masks=masks), **(settings | changes))


def painted(shape: tuple[int, int], boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """(H, W) uint16 with each box, as x1, y1, x2, y2, in a value of its own: 1, 2, .."""
    image = np.zeros(shape, np.uint16)
    for value, (x1, y1, x2, y2) in enumerate(boxes, 1):
        image[y1:y2, x1:x2] = value
    return image


def write_scene(path: Path, image: np.ndarray, *, transform: Affine = UTM, crs: str = "EPSG:32633") -> Path:
    """A GeoTIFF of one band without nodata."""
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": 1}
    with rasterio.open(
        path, "w", **profile, dtype=image.dtype, crs=CRS.from_string(crs), transform=transform
    ) as file:
        file.write(image, 1)
    return path


def found_boxes(layer: Any, transform: Affine = UTM) -> list[tuple[int, int, int, int]]:
    """Boxes around the geometries of a layer, as x1, y1, x2, y2 in pixels."""
    boxes = []
    for west, south, east, north in layer.geometry.bounds.to_numpy():
        (x1, y1), (x2, y2) = ~transform @ (west, north), ~transform @ (east, south)
        boxes.append((round(x1), round(y1), round(x2), round(y2)))
    return boxes
