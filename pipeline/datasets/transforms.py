"""The caller's own changes: functions of batches, or transforms of torchvision and kornia."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.moving import Seen, Target, clipped, outline_boxes

Transform = Callable[..., Any]
"""From a normalised batch, inputs and targets, to such a pair; or a transform of torchvision v2 or kornia."""

_KORNIA_PAD = -1.0
"""Corners of boxes that only fill up a batch."""


@dataclass(frozen=True)
class Moving:
    """A transform of torchvision or kornia: it moves images, masks, boxes and outlines together.

    It gets images from 0 to 1, before they are normalised.
    """

    transform: Any
    kornia: bool

    def __call__(self, seen: Seen) -> Seen:
        """The changed batch."""
        changed = _by_kornia(self.transform, seen) if self.kornia else _by_torchvision(self.transform, seen)
        return replace(changed, objects=_tidied(changed))


def moving_transform(transform: Transform | None) -> Moving | None:
    """A transform that moves everything of a chip by itself; None for plain functions of batches."""
    # whoever made such a transform has the library loaded
    v2 = sys.modules.get("torchvision.transforms.v2")
    if v2 is not None and isinstance(transform, v2.Transform):
        return Moving(transform, kornia=False)
    kornia = sys.modules.get("kornia.augmentation")
    if kornia is None or transform is None:
        return None
    if isinstance(transform, kornia.AugmentationSequential):
        return Moving(transform, kornia=True)
    singles = (kornia.ImageSequential, kornia.auto.PolicyAugmentBase, kornia.AugmentationBase2D)
    if isinstance(transform, singles):
        return Moving(kornia.AugmentationSequential(transform), kornia=True)
    return None


def _by_torchvision(transform: Any, seen: Seen) -> Seen:
    """Chip by chip: such a transform draws once for whatever it is given."""
    chips = [transform(_wrapped(seen, chip)) for chip in range(len(seen.images))]
    sizes = {tuple(chip["image"].shape[-2:]) for chip in chips}
    if len(sizes) > 1:
        raise SettingError(
            f"transforms give chips of different sizes {sorted(sizes)}: end them with a Resize or a crop "
            "to one size."
        )
    return Seen(
        images=_stacked(chips, "image"),
        images2=_stacked(chips, "image2") if seen.images2 is not None else None,
        masks=_stacked(chips, "mask").to(torch.int64) if seen.masks is not None else None,
        objects=[_plain(chip) for chip in chips] if seen.objects is not None else None,
        labels=seen.labels,
    )


def _wrapped(seen: Seen, chip: int) -> dict[str, Any]:
    from torchvision import tv_tensors

    wrapped: dict[str, Any] = {"image": tv_tensors.Image(seen.images[chip])}
    if seen.images2 is not None:
        wrapped["image2"] = tv_tensors.Image(seen.images2[chip])
    if seen.masks is not None:
        wrapped["mask"] = tv_tensors.Mask(seen.masks[chip])
    if seen.objects is not None:
        size = tuple(seen.images.shape[-2:])
        target = seen.objects[chip]
        wrapped["boxes"] = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size)
        wrapped["labels"] = target["labels"]
        if "masks" in target:
            wrapped["masks"] = tv_tensors.Mask(target["masks"])
    return wrapped


def _stacked(chips: list[dict[str, Any]], name: str) -> torch.Tensor:
    return torch.stack([chip[name].as_subclass(torch.Tensor) for chip in chips])


def _plain(chip: dict[str, Any]) -> Target:
    return {
        name: chip[name].as_subclass(torch.Tensor) for name in ("boxes", "labels", "masks") if name in chip
    }


def _by_kornia(transform: Any, seen: Seen) -> Seen:
    """The whole batch at once, each chip with numbers of its own."""
    given: dict[str, tuple[str, torch.Tensor]] = {"images": ("input", seen.images)}
    if seen.images2 is not None:
        given["images2"] = ("input", seen.images2)
    if seen.masks is not None:
        given["masks"] = ("mask", seen.masks[:, None].float())
    if seen.objects is not None:
        most = max(1, *(len(chip["labels"]) for chip in seen.objects))
        given["boxes"] = ("bbox_xyxy", _filled(seen.objects, "boxes", most))
        if all("masks" in chip for chip in seen.objects):
            given["outlines"] = ("mask", _filled(seen.objects, "masks", most).float())
    keys, tensors = zip(*given.values(), strict=True)
    back = transform(*tensors, data_keys=list(keys))
    changed = dict(zip(given, back if isinstance(back, (list, tuple)) else [back], strict=True))
    return Seen(
        images=changed["images"],
        images2=changed.get("images2"),
        masks=changed["masks"][:, 0].round().to(torch.int64) if "masks" in changed else None,
        objects=None if seen.objects is None else _emptied(seen.objects, changed),
        labels=seen.labels,
    )


def _filled(objects: list[Target], name: str, most: int) -> torch.Tensor:
    """(N, most, ...) of all chips; what only fills up is -1 for boxes and 0 for outlines."""
    first = objects[0][name]
    fill = _KORNIA_PAD if name == "boxes" else 0
    filled = first.new_full((len(objects), most, *first.shape[1:]), fill)
    for place, chip in zip(filled, objects, strict=True):
        place[: len(chip[name])] = chip[name]
    return filled


def _emptied(objects: list[Target], changed: dict[str, torch.Tensor]) -> list[Target]:
    targets = []
    for number, chip in enumerate(objects):
        count = len(chip["labels"])
        target = {"boxes": changed["boxes"][number, :count], "labels": chip["labels"]}
        if "outlines" in changed:
            target["masks"] = changed["outlines"][number, :count].round().to(torch.uint8)
        targets.append(target)
    return targets


def _tidied(seen: Seen) -> list[Target] | None:
    """Boxes inside the image, those of outlines bounded anew; what has left the image is dropped."""
    if seen.objects is None:
        return None
    size = (seen.images.shape[-2], seen.images.shape[-1])
    return [_tidy(chip, size) for chip in seen.objects]


def _tidy(chip: Target, size: tuple[int, int]) -> Target:
    if "masks" in chip:
        kept = (chip["masks"] > 0).flatten(1).any(dim=1)
        masks = chip["masks"][kept]
        return {"boxes": outline_boxes(masks), "labels": chip["labels"][kept], "masks": masks}
    cut, enough = clipped(chip["boxes"].double().cpu().numpy().reshape(-1, 4), size)
    kept = torch.from_numpy(enough).to(chip["labels"].device)
    boxes = torch.from_numpy(cut[enough].astype(np.float32)).to(chip["boxes"].device)
    return {"boxes": boxes, "labels": chip["labels"][kept]}
