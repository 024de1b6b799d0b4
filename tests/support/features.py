"""Layers of boxes for tests of vector files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from rasterloom.pipeline.outputs.features import FeatureBlock

FIELDS = {"Class": "text", "ClassValue": "int32", "Confidence": "float64", "Cut": "bool"}


def boxes_block(boxes: Sequence[Sequence[float]], seed: int = 0) -> FeatureBlock:
    """Rectangles (xmin, ymin, xmax, ymax) with the attributes of detections, drawn from few values."""
    sides = np.asarray(boxes, float).reshape(-1, 4)
    random = np.random.default_rng(seed)
    values = random.integers(1, 3, len(sides))
    columns = {
        "Class": np.array(["", "house", "tree"], object)[values],
        "ClassValue": values,
        "Confidence": random.integers(0, 3, len(sides)) * 33.5,
        "Cut": random.random(len(sides)) < 0.5,
    }
    return FeatureBlock(np.asarray(shapely.box(*sides.T), object).reshape(-1), columns)


def random_block(rows: int, seed: int = 0, side: float = 1000.0) -> FeatureBlock:
    """Rectangles anywhere in a square."""
    random = np.random.default_rng(seed)
    corner = random.uniform(0, side, (rows, 2))
    return boxes_block(np.concatenate([corner, corner + random.uniform(1, 20, (rows, 2))], axis=1), seed)


def taken(block: FeatureBlock, which: Any) -> FeatureBlock:
    """Some rows."""
    return FeatureBlock(block.geometry[which], {k: v[which] for k, v in block.columns.items()})
