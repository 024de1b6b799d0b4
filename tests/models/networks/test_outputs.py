from types import SimpleNamespace

import pytest
import torch

from rasterloom.models.errors import ModelMismatchError
from rasterloom.models.networks.outputs import FirstTensor, PixelOutputs, first_tensor
from tests.support.networks import Answering, seeded


def test_the_scores_are_the_first_tensor_that_is_named_so():
    scores = torch.zeros(1)
    for answer in (scores, {"out": scores}, SimpleNamespace(logits=scores), ({"out": (scores,)}, 3)):
        assert first_tensor(answer) is scores
    for answer in ({}, (), None, "scores", SimpleNamespace(logits=3)):
        with pytest.raises(ModelMismatchError, match="nothing in it is known to be the scores"):
            first_tensor(answer)


def test_three_dimensions_are_one_channel():
    network = PixelOutputs(seeded(lambda: Answering(lambda s, i: s[:, 0])))
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 2, 8, 8)


def test_one_channel_of_probabilities_and_the_rest_add_up_to_one():
    network = PixelOutputs(seeded(lambda: Answering(lambda s, i: s.sigmoid(), 1)), probabilities=True)
    torch.testing.assert_close(network(torch.rand(1, 3, 8, 8)).sum(1), torch.ones(1, 8, 8))


@pytest.mark.parametrize("grid", [(4, 8), (3, 3), (16, 16)])
def test_another_grid_is_enlarged_only_by_one_whole_number(grid):
    network = PixelOutputs(Answering(lambda s, i: torch.nn.functional.interpolate(s, size=grid)))
    with pytest.raises(ModelMismatchError, match="whole fraction"):
        network(torch.zeros(1, 3, 8, 8))


def test_nothing_but_the_tensor_is_left():
    module = seeded(lambda: Answering(lambda s, i: {"out": s}))
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(FirstTensor(module)(images), module(images)["out"])
