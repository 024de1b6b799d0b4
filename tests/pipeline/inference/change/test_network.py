"""A model of two dates runs where models of one image run."""

import torch

from rasterloom.pipeline.inference.change.network import BothDates
from tests.support.dates import random_detector


def test_the_first_half_of_the_bands_is_the_earlier_date() -> None:
    model = random_detector(bands=2)
    both = BothDates(model)
    both.network.eval()
    images = torch.randn(3, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = both.network(images.contiguous(memory_format=torch.channels_last))
        expected = model.change_logits(images[:, :2], images[:, 2:])
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.equal(both.probabilities(found), model.probabilities(found))
    assert torch.equal(both.scores(found), model.scores(found))


def test_both_dates_are_scaled_alike_and_the_bands_stay_those_of_one() -> None:
    model = random_detector(bands=2)
    spec = BothDates(model).spec
    assert spec.normalization.mean == model.spec.normalization.mean * 2
    assert spec.normalization.std == model.spec.normalization.std * 2
    assert spec.band_count == 2


def test_the_model_is_moved_and_put_to_rest_with_its_stand_in() -> None:
    model = random_detector()
    both = BothDates(model)
    both.network.eval()
    both.network.double()
    assert not any(module.training for module in model.network.modules())
    assert {p.dtype for p in model.network.parameters()} == {torch.float64}
