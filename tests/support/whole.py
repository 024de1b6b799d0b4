"""The answer for a whole raster at once, in plain torch: what every cut of the work must equal."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rasterloom.models.contract import ModelSpec
from rasterloom.pipeline.inference.blend import tile_weight
from tests.support.models import pixel_spec


class TinyModel:
    """Two random convolutions: as little as a network can be that looks at its neighbours."""

    tile_multiple = 1

    def __init__(self, *, bands: int = 2, seed: int = 0, **changes: Any) -> None:
        self.spec: ModelSpec = pixel_spec(bands=bands, **changes)
        outputs = len(self.spec.output_values)
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        self.network = nn.Sequential(
            nn.Conv2d(bands, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, outputs, 3, padding=1)
        ).eval()
        torch.random.set_rng_state(state)

    def scores(self, logits: Tensor) -> Tensor:
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        return (4 * logits).softmax(dim=1)


def whole_probabilities(
    model: Any,
    pixels: np.ndarray,
    valid: np.ndarray,
    *,
    tile: int,
    padding: int,
    batch_size: int,
    blend: str = "crop",
    merge: str | None = None,
) -> np.ndarray:
    """(K, H, W) probabilities of a (C, H, W) raster held in memory, chip by chip."""
    network = model.network.to(memory_format=torch.channels_last)
    mean, std = (
        np.float32(v)[:, None, None] for v in (model.spec.normalization.mean, model.spec.normalization.std)
    )
    normal = np.where(valid, (pixels.astype(np.float32) - mean) / std, np.float32(0))
    stride = tile - 2 * padding
    sides = [-(-side // stride) * stride for side in valid.shape]
    border = [(padding, padding + full - side) for full, side in zip(sides, valid.shape, strict=True)]
    normal = np.pad(normal, [(0, 0), *border], mode="reflect" if min(valid.shape) > 1 else "symmetric")
    total = torch.zeros(len(model.spec.output_values), *normal.shape[1:])
    weights = torch.zeros(normal.shape[1:])
    weight = torch.zeros(tile, tile)
    if blend == "crop":
        weight[padding : tile - padding, padding : tile - padding] = 1
    else:
        weight = tile_weight(tile, blend)
    for row in range(0, sides[0], stride):
        for col in range(0, sides[1], stride):
            place = (slice(row, row + tile), slice(col, col + tile))
            chips = torch.zeros(batch_size, len(normal), tile, tile)
            chips[0] = torch.from_numpy(normal[:, *place])
            total[:, *place] += weight * _looked_at(model, network, chips, merge)[0]
            weights[place] += weight
    height, width = valid.shape
    mean_of_tiles = total / weights.clamp_min(torch.finfo(torch.float32).tiny)
    return mean_of_tiles[:, padding : padding + height, padding : padding + width].numpy()


def _looked_at(model: Any, network: nn.Module, chips: Tensor, merge: str | None) -> Tensor:
    def look(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.probabilities(network(images.contiguous(memory_format=torch.channels_last)))

    if merge is None:
        return look(chips)
    seen = []
    for flipped in (False, True):
        for quarters in range(4):
            turned = torch.rot90(chips, quarters, (2, 3))
            back = look(turned.flip(3) if flipped else turned)
            seen.append(torch.rot90(back.flip(3) if flipped else back, 4 - quarters, (2, 3)))
    if merge == "mean":
        return sum(seen[1:], seen[0]) / 8
    stacked = torch.stack(seen)
    return stacked.amax(0) if merge == "max" else stacked.amin(0)
