"""Shapes that a network's boxes start from, and which true box each of them is for."""

import numpy as np
import torch
from torch import Tensor

_MOST_SHAPES = 20_000
"""Boxes that are enough to find typical shapes in."""
_ROUNDS = 100


def shape_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes on the same centre, (n, m) of widths and heights (n, 2) and (m, 2)."""
    shared = torch.minimum(first[:, None], second[None]).prod(dim=2)
    return shared / (first.prod(dim=1)[:, None] + second.prod(dim=1)[None] - shared)


def typical_shapes(sizes: np.ndarray, count: int) -> list[list[float]]:
    """So many shapes that most boxes look like one of, in ascending area.

    The same boxes in any order give the same shapes.

    Parameters
    ----------
    sizes
        (m, 2) widths and heights of boxes, above 0; one at least.
    count
        Shapes wanted, 1 or more. Where there are fewer different boxes, some shapes are equal.

    References
    ----------
    Redmon, Farhadi (2016), "YOLO9000", dimension clusters: k-means whose distance is 1 - IoU. Here a cluster
    stands at the medians of its boxes, and the first clusters are boxes at even steps of ascending area.
    """
    boxes = np.asarray(sizes, np.float64).reshape(-1, 2)
    boxes = boxes[np.lexsort((boxes[:, 0], boxes.prod(axis=1)))]
    if len(boxes) > _MOST_SHAPES:
        boxes = boxes[np.linspace(0, len(boxes) - 1, _MOST_SHAPES).astype(np.int64)]
    shapes = boxes[((np.arange(count) + 0.5) / count * len(boxes)).astype(np.int64)]
    nearest = np.full(len(boxes), -1)
    for _ in range(_ROUNDS):
        before, nearest = nearest, _overlaps(boxes, shapes).argmax(axis=1)
        if np.array_equal(before, nearest):
            break
        shapes = np.array(
            [
                np.median(boxes[nearest == k], axis=0) if (nearest == k).any() else shapes[k]
                for k in range(count)
            ]
        )
    order = np.lexsort((shapes[:, 0], shapes.prod(axis=1)))
    found: list[list[float]] = np.round(shapes[order], 2).tolist()
    return found


def best_of_each(keys: Tensor, values: Tensor) -> Tensor:
    """Where the highest value of each key stands, by ascending key; of equal ones the first.

    Parameters
    ----------
    keys, values
        (n,) each, keys int64.
    """
    by_value = values.argsort(descending=True, stable=True)
    order = by_value[keys[by_value].argsort(stable=True)]
    ordered = keys[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first]


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return shape_overlaps(torch.from_numpy(first), torch.from_numpy(second)).numpy()
