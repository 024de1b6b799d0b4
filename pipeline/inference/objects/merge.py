"""Make one of what a detector has found in several looks at the same chip."""

import numpy as np
import torch
from torchvision.ops import batched_nms, box_iou

from rasterloom.pipeline.inference.objects.finds import Finds, taken

SAME = 0.5
"""Two looks show the same thing where boxes of a class overlap by more than this share of their union."""


def merged_looks(looks: list[Finds], *, policy: str, nms_overlap: float) -> Finds:
    """The things of a chip that has been looked at several times.

    The most certain thing takes from each other look the box of its class that overlaps it most, if by more
    than half, then the next one of those left does. What becomes of such a group, the policy says:

    - ``mean``: kept where at least half of the looks show it; the mean box and score of those that do, and
      the pixels that most of them show;
    - ``max``: kept as the most certain look shows it;
    - ``min``: kept where all looks show it; the mean box, the least score, and the pixels that all show.

    Parameters
    ----------
    looks
        What each has shown, turned back.
    policy
        One of MERGE_POLICIES.
    nms_overlap
        Most that two things of a class may overlap, as intersection over union.
    """
    look = np.concatenate([np.full(len(one["scores"]), number) for number, one in enumerate(looks)])
    boxes = np.concatenate([one["boxes"] for one in looks])
    labels = np.concatenate([one["labels"] for one in looks])
    scores = np.concatenate([one["scores"] for one in looks])
    masks = np.concatenate([one["masks"] for one in looks]) if all("masks" in one for one in looks) else None
    least = {"mean": (len(looks) + 1) // 2, "max": 1, "min": len(looks)}[policy]
    groups = [group for group in _groups(boxes, labels, scores, look) if len(group) >= least]
    found = Finds(
        boxes=np.array([_box(boxes[group], policy) for group in groups]).reshape(-1, 4),
        labels=np.array([labels[group[0]] for group in groups], np.int32),
        scores=np.array([_score(scores[group], policy) for group in groups], np.float32),
        unusable=sum(one["unusable"] for one in looks),
    )
    if masks is not None:
        planes = [_mask(masks[group], policy) for group in groups]
        found["masks"] = np.array(planes, bool).reshape(len(groups), *masks.shape[1:])
    return _suppressed(found, nms_overlap)


def _groups(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, look: np.ndarray) -> list[np.ndarray]:
    """Positions of what is the same thing, the most certain one first."""
    order = np.lexsort((*boxes.T, labels, look, -scores))
    overlap = box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).numpy()
    overlap[labels[:, None] != labels] = 0
    overlap[look[:, None] == look] = 0
    free, groups = np.ones(len(scores), bool), []
    for lead in order:
        if not free[lead]:
            continue
        group = [lead]
        near = order[free[order] & (overlap[lead, order] > SAME)]
        for number in np.unique(look[near]):
            mine = near[look[near] == number]
            group.append(mine[overlap[lead, mine].argmax()])
        free[group] = False
        groups.append(np.array(group))
    return groups


def _box(boxes: np.ndarray, policy: str) -> np.ndarray:
    box: np.ndarray = boxes[0] if policy == "max" else boxes.mean(axis=0)
    return box


def _score(scores: np.ndarray, policy: str) -> float:
    if policy == "mean":
        return float(scores.mean())
    return float(scores.max() if policy == "max" else scores.min())


def _mask(masks: np.ndarray, policy: str) -> np.ndarray:
    if policy == "max":
        return np.asarray(masks[0])
    return np.asarray(masks.mean(axis=0) >= 0.5 if policy == "mean" else masks.all(axis=0))


def _suppressed(finds: Finds, nms_overlap: float) -> Finds:
    boxes, scores = torch.from_numpy(finds["boxes"]), torch.from_numpy(finds["scores"]).double()
    kept = batched_nms(boxes, scores, torch.from_numpy(finds["labels"]).long(), nms_overlap)
    return taken(finds, kept.numpy())
