"""Weights of overlapping tiles."""

import pytest
import torch

from rasterloom.pipeline.inference.blend import tile_weight


@pytest.mark.parametrize("blend", ["linear", "gaussian"])
@pytest.mark.parametrize("tile", [1, 2, 7, 64, 512])
def test_weights_are_positive_symmetric_and_largest_in_the_middle(blend: str, tile: int) -> None:
    weight = tile_weight(tile, blend)
    assert weight.shape == (tile, tile)
    assert weight.min() > 0
    assert weight.max() == 1
    assert torch.equal(weight, weight.T)
    assert torch.equal(weight, weight.flip(0))
    row = weight[tile // 2, : (tile + 1) // 2]
    assert (row.diff() > 0).all()
