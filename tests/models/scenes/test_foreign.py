"""Networks of other authors that label whole chips."""

import pytest
import torch
from torch import nn

from rasterloom.models import TorchSceneClassifier, from_torch
from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError
from rasterloom.pipeline.packages.load import load_package
from tests.support.scene_models import BrightestBand, colour_model
from tests.support.scenes import CLASSES, coloured

IMAGES = torch.from_numpy(coloured(torch.tensor([0, 1, 2, 2]).numpy())).float()


class _Answering(nn.Module):
    """Gives every image the same answer."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("answer", answer)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.answer.expand(len(images), *self.answer.shape)


def _bring(module, **changes):
    settings = {"classes": ["a", "b", "c"], "bands": 3, "tile_size": 32, "task": "scenes"}
    return from_torch(module, **(settings | changes))


def test_one_label_is_a_softmax_and_several_a_sigmoid():
    one, several = colour_model(), colour_model(multilabel=True)
    scores = BrightestBand()(IMAGES)
    assert (one.multilabel, several.multilabel) == (False, True)
    torch.testing.assert_close(one.classify_chips(IMAGES), scores.softmax(dim=1))
    torch.testing.assert_close(several.classify_chips(IMAGES), scores.sigmoid())
    assert one.classify_chips(IMAGES).argmax(dim=1).tolist() == [0, 1, 2, 2]


def test_there_is_no_background():
    model = colour_model()
    assert model.spec.output_values == tuple(info.value for info in CLASSES)
    assert model.output_classes == CLASSES


def test_probabilities_are_taken_as_they_are():
    shares = torch.tensor([0.2, 0.3, 0.5])
    model = _bring(_Answering(shares), outputs="probabilities")
    assert torch.equal(model.classify_chips(IMAGES[:2]), shares.expand(2, 3))


def test_maps_of_one_pixel_are_scores_too():
    model = _bring(_Answering(torch.zeros(3, 1, 1)))
    assert model.classify_chips(IMAGES).shape == (4, 3)


@pytest.mark.parametrize("trust", [True, False])
def test_a_saved_model_answers_the_same_where_it_is_trusted(trust, tmp_path):
    model = colour_model(multilabel=True)
    path = model.save(tmp_path / "colour")
    if not trust:
        with pytest.raises(PackageError, match="trust=True"):
            TorchSceneClassifier.from_model(path)
        return
    loaded = TorchSceneClassifier.from_model(path, trust=True)
    assert loaded.multilabel
    assert loaded.digest == TorchSceneClassifier.from_model(path, trust=True).digest
    torch.testing.assert_close(loaded.classify_chips(IMAGES), model.classify_chips(IMAGES))
    assert load_package(path).spec == model.spec


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (_Answering(torch.zeros(2)), {}, "has 2 outputs, and classes names 3"),
        (_Answering(torch.zeros(1)), {"classes": ["a"]}, "use multilabel=True"),
        (_Answering(torch.zeros(3, 8, 8)), {}, r"returns \(1, 3, 8, 8\) .* one score for each class"),
        (_Answering(torch.zeros(3, dtype=torch.int64)), {}, "int64"),
        (_Answering(torch.full((3,), torch.nan)), {}, "not finite"),
        (_Answering(torch.tensor([0.5, 0.5, 0.5])), {"outputs": "probabilities"}, "sum to 1"),
        (
            _Answering(torch.tensor([0.5, 0.5, 1.5])),
            {"outputs": "probabilities", "multilabel": True},
            "0 to 1",
        ),
        (nn.Conv2d(4, 3, 3), {}, "fails on"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 3), nn.Dropout(0.5)).train(), {}, None),
    ],
)
def test_a_network_that_does_not_fit_is_explained(module, changes, message):
    if message is None:
        assert _bring(module, **changes).network.inner.training
        return
    with pytest.raises(ModelMismatchError, match=message):
        _bring(module, **changes)


def test_outputs_of_another_kind_are_refused():
    with pytest.raises(SettingError, match="use 'logits' or 'probabilities'"):
        _bring(_Answering(torch.zeros(3)), outputs="scores")
