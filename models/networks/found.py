"""From boxes everywhere to objects: what is certain enough, and each thing once."""

from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

MOST_CANDIDATES = 4096
"""Boxes of a chip that are compared with each other, the most certain ones: comparing takes their square."""


def found_objects(
    boxes: Tensor, probabilities: Tensor, *, size: tuple[int, int], threshold: float, nms_overlap: float
) -> dict[str, Tensor]:
    """The objects of one chip, the most certain first.

    Parameters
    ----------
    boxes
        (A, 4) xyxy in pixels.
    probabilities
        (A, K) of each class, 0..1. A box is of its most probable class.
    size
        Height and width of the chip; boxes are cut to it, and those without area left are none.
    threshold
        Least probability.
    nms_overlap
        Of boxes of a class that overlap more than this, the most certain one is kept.

    Returns
    -------
    dict
        ``boxes`` (n, 4), ``labels`` (n,) int64 from 1, ``scores`` (n,).
    """
    scores, labels = probabilities.float().max(dim=1)
    cut = clip_boxes_to_image(boxes.float(), size)
    # a comparison with a number that is none is false: such boxes are none either
    real = (scores >= threshold) & ((cut[:, 2:] - cut[:, :2]) > 0).all(dim=1)
    found = {"boxes": cut[real], "labels": labels[real] + 1, "scores": scores[real]}
    return each_once(found, threshold=threshold, nms_overlap=nms_overlap, most=MOST_CANDIDATES)


def each_once(
    found: dict[str, Tensor], *, threshold: float, nms_overlap: float, most: int | None = None
) -> dict[str, Tensor]:
    """The objects of a chip that are certain enough, the most certain first.

    Parameters
    ----------
    found
        ``boxes`` (n, 4), ``labels``, ``scores``.
    threshold
        Least score.
    nms_overlap
        Of objects of a class that overlap more than this, the most certain one is kept.
    most
        How many are compared with each other, the most certain ones; None: all.
    """
    order = found["scores"].argsort(descending=True, stable=True)
    order = order[found["scores"][order] >= threshold][:most]
    ranked = {name: values[order] for name, values in found.items()}
    kept = batched_nms(ranked["boxes"].float(), ranked["scores"], ranked["labels"], nms_overlap)
    kept = kept.sort().values  # the order above, whatever torchvision makes of equal scores
    return {name: values[kept] for name, values in ranked.items()}
