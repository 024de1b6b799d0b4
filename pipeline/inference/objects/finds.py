"""What a detector has found in one chip, as arrays."""

from typing import NotRequired, TypedDict

import numpy as np
from torch import Tensor

from rasterloom.models.errors import ModelMismatchError

SLACK = 1e-3
"""How far a score may lie outside 0..1 by rounding."""


class Finds(TypedDict):
    """The things in one chip, in pixels of the chip."""

    boxes: np.ndarray
    """(n, 4) float64, x1, y1, x2, y2; all finite, with x1 < x2 and y1 < y2."""
    labels: np.ndarray
    """(n,) int32 from 1."""
    scores: np.ndarray
    """(n,) float32, 0..1."""
    unusable: int
    """How many more there were, with a score or a box that is no number, or a box without an area."""
    masks: NotRequired[np.ndarray]
    """(n, H, W) of bool: the pixels of each, where the detector tells."""
    outlines: NotRequired[np.ndarray]
    """(n,) of shapely polygons, where it tells that instead."""


def read_finds(objects: dict[str, Tensor]) -> Finds:
    """The objects of one chip as a detector gives them, without those that are nowhere.

    Raises
    ------
    ModelMismatchError
        If scores are no numbers from 0 to 1.
    """
    boxes = objects["boxes"].double().cpu().numpy().reshape(-1, 4)
    scores = objects["scores"].float().cpu().numpy()
    usable = np.isfinite(scores) & np.isfinite(boxes).all(axis=1)
    usable &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, scores = boxes[usable], scores[usable]
    if len(scores) and not (scores.min() >= -SLACK and scores.max() <= 1 + SLACK):
        raise ModelMismatchError(
            f"the detector gives scores from {scores.min():.3g} to {scores.max():.3g}, and a score says "
            "from 0 to 1 how certain it is: send its outputs through a sigmoid or softmax first."
        )
    finds = Finds(
        boxes=boxes,
        labels=objects["labels"].cpu().numpy().astype(np.int32)[usable],
        scores=scores.clip(0, 1),
        unusable=int((~usable).sum()),
    )
    masks = objects.get("masks")
    if masks is not None:
        # (n, H, W), or (n, 1, H, W) as torchvision gives them
        planes = masks.reshape(len(usable), *masks.shape[-2:])
        finds["masks"] = (planes >= 0.5).cpu().numpy()[usable]
    return finds


def taken(finds: Finds, which: np.ndarray) -> Finds:
    """Some of the things: positions, or one truth value for each."""
    some = Finds(
        boxes=finds["boxes"][which],
        labels=finds["labels"][which],
        scores=finds["scores"][which],
        unusable=finds["unusable"],
    )
    if "masks" in finds:
        some["masks"] = finds["masks"][which]
    if "outlines" in finds:
        some["outlines"] = finds["outlines"][which]
    return some
