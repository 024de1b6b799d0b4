import pytest
import torch
from torch import nn

from rasterloom.models.errors import ModelMismatchError
from rasterloom.models.networks.outputs import PixelOutputs
from rasterloom.models.networks.probing import probe
from tests.support.networks import Answering, TinyNet, seeded


def test_channels_and_range_are_told():
    found = probe(PixelOutputs(seeded(lambda: Answering(lambda s, i: s * 0 + 0.5, 7))), bands=3, tile_size=16)
    assert (found.channels, found.smallest, found.largest) == (7, 0.5, 0.5)


def test_a_look_leaves_no_trace():
    network = PixelOutputs(seeded(TinyNet))
    network.inner.first.eval()
    probe(network, bands=3, tile_size=16)
    assert network.training
    assert network.inner.norm.training
    assert not network.inner.first.training
    assert int(network.inner.norm.num_batches_tracked) == 0


def test_a_tile_that_is_too_small_is_told_so():
    deep = nn.Sequential(*(nn.MaxPool2d(2) for _ in range(4)), nn.Upsample(scale_factor=16), TinyNet())
    with pytest.raises(ModelMismatchError, match=r"tiles of 8 pixels .* 16 can: use tile_size=16"):
        probe(PixelOutputs(deep), bands=3, tile_size=8)


def test_another_failure_is_told_in_the_words_of_the_network():
    def fail(scores: torch.Tensor, images: torch.Tensor) -> None:
        raise KeyError("temperature")

    with pytest.raises(ModelMismatchError, match=r"fails on \(2, 3, 32, 32\) images.*temperature"):
        probe(PixelOutputs(Answering(fail)), bands=3, tile_size=32)
