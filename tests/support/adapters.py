"""The smallest model of each class of the catalog, and data that it can learn in a few steps."""

import dataclasses
import json
from functools import cache
from typing import Any

import torch

from rasterloom.models.build import build
from rasterloom.models.catalog import CATALOG, AdapterRow
from rasterloom.models.contract import ModelSpec, Task
from rasterloom.models.imagery import ImageryModel
from tests.support.models import pixel_spec

TRAINABLE = [row for row in CATALOG if row.trainable and not row.brings_code]
"""Those that are built from their settings and trained."""

_TINY = {"backbone": "timm:test_resnet", "encoder_depth": 3, "pretrained": False}
_TINY_REGIONS = {
    **_TINY,
    "pyramid_channels": 32,
    "head_channels": 64,
    "rpn_post_nms_top_n_train": 100,
    "rpn_post_nms_top_n_test": 50,
    "box_batch_size_per_image": 48,
    "box_detections_per_img": 20,
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "UnetClassifier": {**_TINY, "decoder_channels": [16, 16, 8]},
    "PSPNetClassifier": {**_TINY, "decoder_channels": [16, 16, 8]},
    "DeepLab": {**_TINY, "decoder_channels": 32},
    "HEDEdgeDetector": _TINY,
    "BDCNEdgeDetector": {**_TINY, "scale_channels": 8},
    "MultiTaskRoadExtractor": {**_TINY, "mtl_model": "linknet"},
    "ConnectNet": {**_TINY, "mtl_model": "linknet"},
    "FasterRCNN": _TINY_REGIONS,
    "RetinaNet": {**_TINY, "pyramid_channels": 32, "finest_stride": 4},
    "MaskRCNN": {**_TINY_REGIONS, "mask_channels": 32},
    "SingleShotDetector": {**_TINY, "head_channels": 32, "grids": [16, 8], "zooms": [2.0, 4.0]},
    "ChangeDetector": {**_TINY, "decoder_channels": [16, 32, 16]},
    "FeatureClassifier": {"backbone": "timm:test_resnet", "pretrained": False},
    "YOLOv3": {
        "backbone": "timm:test_resnet",
        "pretrained": False,
        "head_channels": [16, 32, 32],
        "anchors": [[side, side] for side in range(12, 30, 2)],
    },
}
"""The smallest settings of each model class; defaults where it has no entry."""

_POINTREND = {"pointrend": True, "encoder_depth": 4}
KINDS: dict[str, list[dict[str, Any]]] = {
    "PSPNetClassifier": [
        {"unet_aux_loss": True},
        {"use_unet": False, "decoder_channels": None},
        {**_POINTREND, "decoder_channels": None},
    ],
    "DeepLab": [{}, {"pointrend": True}, {**_POINTREND, "keep_dilation": True}],
    "ConnectNet": [{"mtl_model": "hourglass", "hourglass_depth": 2, "hourglass_channels": 16}],
    "MaskRCNN": [{}, {"pointrend": True}],
    "SingleShotDetector": [{}, {"ssd_version": 1, "grids": [8, 4], "zooms": [2.0]}, {"focal_loss": True}],
    "ChangeDetector": [{}, {"attention_type": "BAM", "finest_stride": 2}],
}
"""Settings under which a class is a network of another kind; the smallest ones where it has no entry."""

ONE_CLASS = {"HEDEdgeDetector", "BDCNEdgeDetector"}
"""Models for pixels that know one class besides background."""

RATES: dict[str, float] = {
    "FasterRCNN": 3e-3,
    "RetinaNet": 3e-3,
    "MaskRCNN": 3e-3,
    "SingleShotDetector": 3e-3,
}
"""Learning rate of each class that does not learn best at a hundredth."""

STEPS = 60
"""Times that a model goes over the learnable batch."""
SIDES = {Task.PIXELS: 32, Task.OBJECTS: 64, Task.CHANGE: 32, Task.SCENES: 64}
"""Of the images, in pixels."""
_BLOCK = 8

_THINGS = (
    ((6.0, 8.0, 26.0, 24.0, 1), (36.0, 34.0, 60.0, 58.0, 2)),
    ((30.0, 6.0, 46.0, 22.0, 3), (4.0, 36.0, 28.0, 56.0, 1)),
    (),
    ((20.0, 18.0, 44.0, 46.0, 2),),
)
"""Left, upper, right, lower side and class of the objects of each learnable chip; the third has none."""


def kinds(row: AdapterRow) -> list[dict[str, Any]]:
    """Changes of the smallest settings, one for each kind of network that a class can have."""
    return KINDS.get(row.name, [{}])


def of_task(task: Task) -> list[AdapterRow]:
    """Rows of the models for one task."""
    return [row for row in TRAINABLE if row.task == task]


def classifiers() -> list[AdapterRow]:
    """Rows of the models that give every pixel one of any number of classes."""
    return [row for row in of_task(Task.PIXELS) if row.name not in ONE_CLASS]


def adapter_spec(row: AdapterRow, *, bands: int = 3, **changes: Any) -> ModelSpec:
    """Description of the smallest model of a class, with ``changes`` of its settings."""
    smallest = PARAMETERS.get(row.name, {"pretrained": False})
    spec = pixel_spec(bands=bands, tile_size=SIDES[row.task])
    if row.name in ONE_CLASS:
        spec = dataclasses.replace(spec, classes=spec.classes[:1])
    spec = dataclasses.replace(spec, background=row.task != Task.SCENES)
    return dataclasses.replace(spec, model=row.name, task=row.task, parameters=smallest | changes)


def adapter_model(row: AdapterRow, *, bands: int = 3, **changes: Any) -> ImageryModel:
    """The same model with the same random weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build(adapter_spec(row, bands=bands, **changes))


def images(count: int, *, bands: int = 3, side: int = SIDES[Task.PIXELS]) -> torch.Tensor:
    """The same noise at every call."""
    return torch.randn(count, bands, side, side, generator=torch.Generator().manual_seed(2))


def noise(row: AdapterRow, count: int, *, bands: int = 3) -> torch.Tensor:
    """Images of noise of the size a class is tested with."""
    return images(count, bands=bands, side=SIDES[row.task])


def learnable(row: AdapterRow, *, bands: int = 3) -> tuple[Any, Any]:
    """A batch of a few images, and targets that can be told from them: even blocks, or even rectangles.

    Of change images of both dates: blocks are brighter by the change at the later one.
    """
    if row.task == Task.OBJECTS:
        return _rectangles(bands)
    if row.task == Task.SCENES:
        labels = torch.tensor([0, 1, 2, 0])
        return 0.1 * noise(row, 4, bands=bands) + labels[:, None, None, None], labels
    blocks = images(4, bands=bands)[:, :, ::_BLOCK, ::_BLOCK]
    even = blocks.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)
    if row.name in ONE_CLASS:
        return even, (even[:, 0] > 0).long()
    target = (even[:, 0] > 0).long() + 2 * (even[:, -1] > 0.5).long()
    if row.task == Task.CHANGE:
        before = even.roll(1, dims=0)
        return (before, before + target[:, None]), target
    return even, target


def some_of(batch: tuple[Any, Any], count: int) -> tuple[Any, Any]:
    """The first images of a batch with their targets."""
    if isinstance(batch[0], tuple):
        before, after = batch[0]
        return (before[:count], after[:count]), batch[1][:count]
    return batch[0][:count], batch[1][:count]


def seeded_loss(model: ImageryModel, batch: Any) -> torch.Tensor:
    """The loss in training, with the same random choices at every call."""
    model.network.train()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return model.training_loss(batch)


def trained(row: AdapterRow, **changes: Any) -> tuple[ImageryModel, list[float]]:
    """A model that went over the learnable batch some times, and its losses; made once, so only looked at."""
    return _trained(row, json.dumps(changes))


@cache
def _trained(row: AdapterRow, changes: str) -> tuple[ImageryModel, list[float]]:
    model, batch = adapter_model(row, **json.loads(changes)), learnable(row)
    optimizer = torch.optim.AdamW(model.param_groups(), lr=RATES.get(row.name, 1e-2))
    losses = []
    model.network.train()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = model.training_loss(batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return model, losses


def answers(model: Any, pictures: torch.Tensor) -> list[list[torch.Tensor]]:
    """What a model says of each image, as tensors; the network does not train.

    Logits of a pixel classifier; boxes, labels, scores and masks of a detector, however uncertain.
    """
    model.network.eval()
    with torch.inference_mode():
        if model.spec.task == Task.OBJECTS:
            found = model.detect(pictures, threshold=0.0, nms_overlap=0.5)
            return [[chip[name] for name in sorted(chip)] for chip in found]
        if model.spec.task == Task.CHANGE:  # the later images are the same in a mirror
            return [[logits] for logits in model.change_logits(pictures, pictures.flip(-1))]
        return [[logits] for logits in model.network(pictures)]


def same_answers(first: list[list[torch.Tensor]], second: list[list[torch.Tensor]]) -> bool:
    """Whether they are equal to the last bit."""
    return len(first) == len(second) and all(
        len(one) == len(other) and all(map(torch.equal, one, other))
        for one, other in zip(first, second, strict=True)
    )


def _rectangles(bands: int) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
    """Dim noise with rectangles whose brightness tells their class, and what is known of each chip."""
    side = SIDES[Task.OBJECTS]
    pictures, targets = 0.1 * images(len(_THINGS), bands=bands, side=side), []
    for picture, things in zip(pictures, _THINGS, strict=True):
        masks = torch.zeros(len(things), side, side, dtype=torch.uint8)
        for mask, (left, top, right, bottom, label) in zip(masks, things, strict=True):
            window = slice(int(top), int(bottom)), slice(int(left), int(right))
            mask[window] = 1
            picture[:, *window] += label
        boxes = torch.tensor([thing[:4] for thing in things]).reshape(-1, 4)
        labels = torch.tensor([thing[4] for thing in things], dtype=torch.int64)
        targets.append({"boxes": boxes, "labels": labels, "masks": masks})
    return pictures, targets
