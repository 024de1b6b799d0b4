"""Chips moved, as the network will see them: everything of a chip at once."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from rasterloom.pipeline.datasets.samples import RawBatch
from rasterloom.pipeline.datasets.views import Views
from rasterloom.pipeline.labels.objects import Objects

Target = dict[str, torch.Tensor]
"""The objects of one chip as torchvision's detectors take them: ``boxes`` (k, 4) float32 xyxy in pixels,
``labels`` (k,) int64 from 1, and where outlines are known ``masks`` (k, H, W) uint8."""

LEAST_LEFT = 0.25
"""Part of an object that has to be left in a view."""

_TORCH_TYPES = tuple(np.dtype(t) for t in ("uint8", "int8", "int16", "int32", "int64", "float32"))
"""Types that torch converts on every device; others become float32, as the network sees them, before."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A batch of chips after they were moved."""

    images: torch.Tensor
    """(N, C, H, W) float32, in the chips' units until they are normalised."""
    images2: torch.Tensor | None = None
    masks: torch.Tensor | None = None
    """(N, H, W) int64"""
    objects: list[Target] | None = None
    labels: torch.Tensor | None = None
    """(N,) int64, or (N, K) float32"""


def moved(
    raw: RawBatch,
    views: Views,
    views2: Views,
    *,
    resize: tuple[int, int] | None,
    device: torch.device,
) -> Seen:
    """Everything of a batch under the same views, on a device.

    Parameters
    ----------
    views2
        Views of the second images: other ones where they show other ground.
    resize
        Height and width that each chip is brought to before it is moved.
    """
    limits2 = raw.limits if raw.limits2 is None else raw.limits2
    return Seen(
        images=_image(raw.images, raw.limits, views, resize, device),
        images2=None if raw.images2 is None else _image(raw.images2, limits2, views2, resize, device),
        masks=None
        if raw.masks is None
        else views.of(to_device(raw.masks, device), smooth=False).to(torch.int64),
        objects=None if raw.objects is None else moved_objects(raw, raw.objects, views, resize, device),
        labels=None if raw.labels is None else _labels(raw.labels, device),
    )


def moved_objects(
    raw: RawBatch,
    objects: Objects,
    views: Views,
    resize: tuple[int, int] | None,
    device: torch.device,
) -> list[Target]:
    """The objects of each chip that are left in its view.

    An object is dropped when less than a quarter of it, or less than a pixel, is left. Outlines give the
    boxes anew; a box alone that is rotated is bounded anew.
    """
    scale = np.ones((len(raw), 4)) if resize is None else _scale(raw.limits, resize)
    shape = (raw.images.shape[-2], raw.images.shape[-1])
    targets = []
    for chip in range(len(raw)):
        mine = slice(objects.starts[chip], objects.starts[chip + 1])
        view, labels = views.at(np.array([chip])), objects.values[mine]
        if objects.runs is None:
            boxes = objects.boxes[mine].astype(np.float64) * scale[chip]
            targets.append(_boxed(boxes, labels, view, device))
        else:
            outlines = to_device(_drawn(objects, chip, raw.frames[chip], shape), device)
            if resize is not None:
                outlines = _stretched(outlines, raw.limits[chip], resize)
            targets.append(_outlined(outlines, labels, view, device))
    return targets


def outline_boxes(masks: torch.Tensor) -> torch.Tensor:
    """(k, 4) float32 boxes that bound (k, H, W) masks, each with a pixel at least."""
    sides = []
    for other in (1, 2):  # columns, then rows
        any_of = masks.amax(dim=other) > 0  # (k, W) and (k, H)
        length = any_of.shape[1]
        first = any_of.to(torch.uint8).argmax(dim=1)
        last = length - any_of.flip(1).to(torch.uint8).argmax(dim=1)
        sides.append((first, last))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1).float()


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor; on a GPU without waiting for the copy."""
    tensor = torch.from_numpy(array if array.dtype in _TORCH_TYPES else array.astype(np.float32))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def clipped(boxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (k, 4) cut to a view of height and width ``size``, and whether enough of each is left."""
    height, width = size
    cut = boxes.clip(0, np.array([width, height, width, height]))
    sides, whole = cut[:, 2:] - cut[:, :2], boxes[:, 2:] - boxes[:, :2]
    # a hair's breadth below one pixel is rounding, not a smaller box
    kept = (sides.min(axis=1, initial=np.inf) > 1 - 1e-3) & (
        sides.prod(axis=1) >= LEAST_LEFT * whole.prod(axis=1)
    )
    return cut, kept


def _drawn(objects: Objects, chip: int, frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(k, H, W) uint8 outlines of a chip, filled up as its image is."""
    own = objects.outlines(chip, (int(frame[0]), int(frame[1])))
    if own.shape[1:] == shape:
        return own.view(np.uint8)
    drawn = np.zeros((len(own), *shape), np.uint8)
    drawn[:, : own.shape[1], : own.shape[2]] = own
    return drawn


def _boxed(boxes: np.ndarray, labels: np.ndarray, view: Views, device: torch.device) -> Target:
    cut, kept = clipped(view.boxes(boxes, np.zeros(len(boxes), np.int64)), view.size)
    return {
        "boxes": torch.from_numpy(cut[kept].astype(np.float32)).to(device),
        "labels": torch.from_numpy(labels[kept].astype(np.int64)).to(device),
    }


def _outlined(outlines: torch.Tensor, labels: np.ndarray, view: Views, device: torch.device) -> Target:
    height, width = view.size
    if len(labels) == 0:
        return {
            "boxes": torch.zeros((0, 4), device=device),
            "labels": torch.zeros(0, dtype=torch.int64, device=device),
            "masks": torch.zeros((0, height, width), dtype=torch.uint8, device=device),
        }
    masks = view.of(outlines[None], smooth=False)[0]
    before = outlines.flatten(1).sum(dim=1, dtype=torch.int32) * float(view.zooms[0] ** 2)
    left = masks.flatten(1).sum(dim=1, dtype=torch.int32)
    kept = (left > 0) & (left >= LEAST_LEFT * before)
    masks = masks[kept]
    positions = torch.from_numpy(labels.astype(np.int64)).to(device)[kept]
    return {"boxes": outline_boxes(masks), "labels": positions, "masks": masks}


def _image(
    images: np.ndarray,
    limits: np.ndarray,
    views: Views,
    resize: tuple[int, int] | None,
    device: torch.device,
) -> torch.Tensor:
    chips = to_device(images, device)
    if resize is not None:
        chips = _resized(chips, limits, resize)
    return views.of(chips, smooth=True).to(torch.float32)


def _resized(chips: torch.Tensor, limits: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """What each chip holds, stretched to one size; each size of chips in one go."""
    resized = torch.empty((*chips.shape[:2], *size), device=chips.device)
    for height, width in np.unique(limits, axis=0).tolist():
        alike = torch.from_numpy(np.flatnonzero((limits == (height, width)).all(axis=1))).to(chips.device)
        content = chips[alike][..., :height, :width].float()
        resized[alike] = F.interpolate(content, size, mode="bilinear", antialias=True)
    return resized


def _stretched(outlines: torch.Tensor, limit: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    if len(outlines) == 0:
        return outlines.new_zeros((0, *size))
    content = outlines[:, None, : int(limit[0]), : int(limit[1])].float()
    return F.interpolate(content, size, mode="nearest-exact")[:, 0].to(torch.uint8)


def _scale(limits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, 4) factors of xyxy."""
    factors = np.array(size) / limits
    return factors[:, [1, 0, 1, 0]]


def _labels(labels: np.ndarray, device: torch.device) -> torch.Tensor:
    kind = torch.int64 if labels.ndim == 1 else torch.float32
    return to_device(labels, device).to(kind)
