"""A chip seen in its eight flips and rotations, and what they show put together."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rasterloom.pipeline.inference.augment import DIHEDRAL
from rasterloom.pipeline.inference.objects.finds import Finds, read_finds
from rasterloom.pipeline.inference.objects.merge import merged_looks

Look = Callable[[Tensor], list[dict[str, Tensor]]]
"""Images (N, C, T, T) to the objects of each."""


def seen_all_ways(look: Look, images: Tensor, *, merge_policy: str, nms_overlap: float) -> list[Finds]:
    """The things of each chip (N, C, T, T), put together from eight looks as ``merge_policy`` says."""
    looks: list[list[Finds]] = [[] for _ in images]
    for turn in DIHEDRAL:
        turned = turn.apply(images).contiguous(memory_format=torch.channels_last)
        for chip, objects in enumerate(look(turned)):
            if "masks" in objects:
                objects = {**objects, "masks": turn.undo(objects["masks"])}
            finds = read_finds(objects)
            looks[chip].append({**finds, "boxes": turn.undo_boxes(finds["boxes"], images.shape[-1])})
    return [merged_looks(chip, policy=merge_policy, nms_overlap=nms_overlap) for chip in looks]


def find_all_ways(
    model: Any, images: Tensor, *, nms_overlap: float = 0.1, **settings: float
) -> list[dict[str, Tensor]]:
    """The objects of chips as :meth:`~rasterloom.models.objects.detector.ObjectDetector.detect` gives them.

    A thing is kept where at least half of the looks show it, with the mean of their boxes and scores;
    ``settings`` are those of ``detect``.
    """

    def look(turned: Tensor) -> list[dict[str, Tensor]]:
        found: list[dict[str, Tensor]] = model.detect(turned, nms_overlap=nms_overlap, **settings)
        return found

    finds = seen_all_ways(look, images, merge_policy="mean", nms_overlap=nms_overlap)
    return [_as_tensors(chip, images.device) for chip in finds]


def _as_tensors(finds: Finds, device: torch.device) -> dict[str, Tensor]:
    made = {
        "boxes": torch.from_numpy(finds["boxes"]).float(),
        "labels": torch.from_numpy(finds["labels"]).long(),
        "scores": torch.from_numpy(finds["scores"]).float(),
    }
    if "masks" in finds:
        made["masks"] = torch.from_numpy(finds["masks"])
    return {name: values.to(device) for name, values in made.items()}
