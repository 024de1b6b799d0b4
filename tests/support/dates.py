"""Two dates of the same ground, models that compare them, and what is found."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from torch import Tensor, nn

from rasterloom.models.bring import from_torch
from rasterloom.models.build import build
from rasterloom.models.contract import ClassInfo, Task
from rasterloom.pipeline.inference.change.detect import detect_change_using_deep_learning
from tests.support.models import pixel_spec
from tests.support.rasters import write_raster

LIMIT = 30.0
"""How far two dates must be apart, in the mean of the bands, to count as changed."""

HEIGHT, WIDTH = 118, 151
ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}
NOTHING = 255

CHANGE = (ClassInfo(1, "Change", (220, 40, 40)),)


class Difference(nn.Module):
    """A pixel has changed where the mean of its bands has gone up or down by more than the limit."""

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        gap = (after - before).mean(dim=1, keepdim=True).abs()
        return torch.cat([torch.full_like(gap, LIMIT), gap], dim=1)


def rule_model(*, bands: int = 3, tile_size: int = 64, **changes: Any) -> Any:
    """A model that follows :class:`Difference`, on pixels as they are."""
    return from_torch(
        Difference(), task="change", classes=CHANGE, bands=bands, tile_size=tile_size, **changes
    )


def random_detector(*, bands: int = 3, seed: int = 0) -> Any:
    """The smallest ChangeDetector, whose random weights see change in about half of what differs."""
    spec = dataclasses.replace(
        pixel_spec(bands=bands, tile_size=64),
        model="ChangeDetector",
        task=Task.CHANGE,
        classes=CHANGE,
        parameters={
            "backbone": "timm:test_resnet",
            "encoder_depth": 3,
            "pretrained": False,
            "decoder_channels": [8, 16, 8],
        },
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(spec)


def write_dates(folder: Path) -> tuple[Path, Path]:
    """Two rasters of HEIGHT x WIDTH on one grid, of which about half differs by the rule."""
    return (
        write_raster(folder / "before.tif", height=HEIGHT, width=WIDTH),
        write_raster(folder / "after.tif", height=HEIGHT, width=WIDTH, seed=3),
    )


def detect(before: Any, after: Any, model: Any, output: Path, **changes: Any) -> Path:
    """Path of the map, computed in small cells with ARGUMENTS unless ``changes`` say otherwise."""
    given = {"model_arguments": ARGUMENTS, "progress": False, "cell_size": 64} | changes
    return Path(detect_change_using_deep_learning(before, after, model, output, **given))


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """What the rule says of two arrays (band, row, column)."""
    gap = np.abs((after.astype(np.float32) - before.astype(np.float32)).mean(axis=0, dtype=np.float32))
    return (gap > LIMIT).astype(np.uint8)


def pixels_of(path: Path) -> np.ndarray:
    """All bands of a raster."""
    with rasterio.open(path) as source:
        return source.read()


def map_of(path: Path) -> np.ndarray:
    """The first band of a raster."""
    with rasterio.open(path) as source:
        return source.read(1)
