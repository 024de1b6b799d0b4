"""The smallest model of each class of the catalog, and data that it can learn in a few steps."""

import dataclasses
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
PARAMETERS: dict[str, dict[str, Any]] = {
    "UnetClassifier": {**_TINY, "decoder_channels": [16, 16, 8]},
    "PSPNetClassifier": {**_TINY, "decoder_channels": [16, 16, 8]},
    "DeepLab": {**_TINY, "decoder_channels": 32},
}
"""The smallest settings of each model class; defaults where it has no entry."""
SIDE = 32
"""Of the images, in pixels."""
_BLOCK = 8


def adapter_spec(row: AdapterRow, *, bands: int = 3, **changes: Any) -> ModelSpec:
    """Description of the smallest model of a class, with ``changes`` of its settings."""
    smallest = PARAMETERS.get(row.name, {"pretrained": False})
    spec = pixel_spec(bands=bands, tile_size=SIDE)
    return dataclasses.replace(spec, model=row.name, task=row.task, parameters=smallest | changes)


def adapter_model(row: AdapterRow, *, bands: int = 3, **changes: Any) -> ImageryModel:
    """The same model with the same random weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build(adapter_spec(row, bands=bands, **changes))


def images(count: int, *, bands: int = 3) -> torch.Tensor:
    """The same noise at every call."""
    return torch.randn(count, bands, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def learnable(row: AdapterRow, *, bands: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of a few images of even blocks, and targets that can be told from them."""
    assert row.task == Task.PIXELS
    blocks = images(4, bands=bands)[:, :, ::_BLOCK, ::_BLOCK]
    even = blocks.repeat_interleave(_BLOCK, 2).repeat_interleave(_BLOCK, 3)
    return even, (even[:, 0] > 0).long() + 2 * (even[:, -1] > 0.5).long()


def seeded_loss(model: ImageryModel, batch: Any) -> torch.Tensor:
    """The loss in training, with the same random choices at every call."""
    model.network.train()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return model.training_loss(batch)
