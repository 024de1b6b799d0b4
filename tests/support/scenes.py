"""Chips of one label or several that can be told apart by their colour, and a classifier of them."""

from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from tests.pipeline.datasets.stores import write_store

CLASSES = (
    ClassInfo(2, "meadow", (80, 180, 60)),
    ClassInfo(5, "roof", (200, 60, 40)),
    ClassInfo(9, "lake", (40, 60, 200)),
)
SIDE = 32
"""Of the chips, in pixels."""
TINY = {"backbone": "timm:test_resnet", "pretrained": False}
"""Settings of a small model."""


def coloured(positions: np.ndarray, *, side: int = SIDE, seed: int = 0) -> np.ndarray:
    """Chips (n, 3, side, side) uint8 of noise, in which the band of each chip's class is bright.

    Parameters
    ----------
    positions
        (n,) of the classes, or (n, 3) whether each class occurs.
    """
    several = positions if positions.ndim == 2 else np.arange(3) == positions[:, None]
    noise = np.random.default_rng(seed).integers(0, 90, (len(positions), 3, side, side))
    return (noise + 140 * several.astype(int)[:, :, None, None]).astype(np.uint8)


def write_scenes(path: Path, positions: np.ndarray, **settings: Any) -> Path:
    """A store of such chips with their labels; -1 is a chip of no class."""
    several = positions.ndim == 2
    values = np.array([0, *(info.value for info in CLASSES)])
    labels = positions.astype(np.uint8) if several else values[positions + 1].astype(np.int64)
    return write_store(
        path,
        coloured(positions),
        classes=CLASSES,
        metadata_format="MultiLabeled_Tiles" if several else "Labeled_Tiles",
        labels=labels,
        **settings,
    )
