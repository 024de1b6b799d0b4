"""Networks of other authors as models of change."""

import pytest
import torch
from torch import nn

from rasterloom.models import from_torch
from rasterloom.models.brought import ScoringSettings
from rasterloom.models.change.foreign import TorchChangeDetector
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.packages.load import build_model, load_package
from tests.support.networks import seeded

ARGUMENTS = {"task": "change", "classes": ["built", "gone"], "bands": 3, "tile_size": 16}


class Stacked(nn.Module):
    """Takes the bands of both dates at once."""

    def __init__(self, outputs=3):
        super().__init__()
        self.layers = nn.Conv2d(6, outputs, 3, padding=1)

    def forward(self, images):
        return self.layers(images)


class Siamese(nn.Module):
    """Takes two images."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, before, after):
        return {"out": self.layers(after) - self.layers(before)}


@pytest.fixture
def dates():
    return torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).unbind()


def test_a_network_of_the_bands_of_both_dates_is_run_on_two_images(dates):
    module = seeded(Stacked)
    model = from_torch(module, **ARGUMENTS)
    torch.testing.assert_close(model.change_logits(*dates), module(torch.cat(dates, dim=1)))
    torch.testing.assert_close(model.probabilities(model.change_logits(*dates)).sum(1), torch.ones(2, 16, 16))
    assert model.spec.output_values == (0, 1, 2)
    assert model.spec.band_count == 3


def test_a_module_of_two_images_is_run_as_it_is(dates):
    module = seeded(Siamese)
    model = from_torch(module, **ARGUMENTS)
    torch.testing.assert_close(model.change_logits(*dates), module(*dates)["out"])


def test_one_output_alone_is_change_against_none(dates):
    model = from_torch(seeded(lambda: Stacked(1)), **{**ARGUMENTS, "classes": ["change"]})
    logits = model.change_logits(*dates)
    assert logits.shape == (2, 2, 16, 16)
    assert (logits[:, 0] == 0).all()


def test_probabilities_are_taken_as_they_are(dates):
    network = nn.Sequential(seeded(Stacked), nn.Softmax(dim=1))
    model = from_torch(network, **ARGUMENTS, outputs="probabilities")
    logits = model.change_logits(*dates)
    assert torch.equal(model.probabilities(logits), logits)


@pytest.mark.parametrize("make", [Stacked, Siamese])
@pytest.mark.parametrize("pickled", [False, True])
def test_a_package_gives_the_same_answers(make, pickled, dates, tmp_path):
    model = from_torch(seeded(make).eval(), **ARGUMENTS)
    path = model.save(tmp_path / "compared", pickled=pickled)
    again = build_model(load_package(path, trust=True))
    assert isinstance(again, TorchChangeDetector)
    torch.testing.assert_close(again.change_logits(*dates), model.change_logits(*dates))
    assert again.spec == model.spec


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (Stacked, {"classes": ["same", "built", "gone"]}, "none for no change"),
        (Stacked, {"bands": 4}, r"bands of both dates: .*; on two images: "),
        (lambda: nn.Conv2d(3, 3, 1), {}, r"does not answer on images with the bands of both dates"),
        (lambda: Stacked(5), {}, "5 outputs, and classes names 2"),
    ],
)
def test_a_network_that_does_not_fit_is_explained(module, changes, message):
    with pytest.raises(ModelMismatchError, match=message):
        from_torch(seeded(module), **(ARGUMENTS | changes))


@pytest.mark.parametrize("changes", [{"outputs": "scores"}, {"tile_multiple": 0}])
def test_settings_of_a_package_that_cannot_work_are_refused(changes):
    with pytest.raises(SettingError, match=next(iter(changes))):
        ScoringSettings(**changes)
