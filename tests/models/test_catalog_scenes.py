"""What every model class must do that gives whole chips a label."""

import numpy as np
import pytest
import torch

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.training.learning import judge_for
from tests.support.adapters import adapter_model, kinds, learnable, noise, of_task

pytestmark = [
    pytest.mark.parametrize("row", of_task(Task.SCENES), ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]


def _seen(model, images):
    model.network.eval()
    return model.classify_chips(images)


def test_probabilities_of_one_label_sum_to_one(row):
    for changes in kinds(row):
        likely = _seen(adapter_model(row, **changes), noise(row, 3))
        assert likely.shape == (3, 3), changes
        assert likely.dtype == torch.float32
        assert not likely.requires_grad
        assert (likely >= 0).all()
        torch.testing.assert_close(likely.sum(dim=1), torch.ones(3))


def test_several_labels_are_probable_each_by_itself(row):
    model = adapter_model(row, multilabel=True)
    likely = _seen(model, noise(row, 3))
    assert model.multilabel
    torch.testing.assert_close(likely, model.network(noise(row, 3)).sigmoid())
    assert not torch.allclose(likely.sum(dim=1), torch.ones(3), atol=1e-3)


def test_several_labels_are_learnt_side_by_side(row):
    model, (images, labels) = adapter_model(row, multilabel=True), learnable(row)
    several = torch.stack([labels >= 1, labels >= 2, labels < 0], dim=1).float()  # the third never occurs
    optimizer = torch.optim.AdamW(model.param_groups(), lr=1e-2)
    model.network.train()
    with torch.random.fork_rng():
        torch.manual_seed(4)
        for _ in range(40):
            optimizer.zero_grad()
            model.training_loss((images, several)).backward()
            optimizer.step()
    likely = _seen(model, images)
    assert ((likely >= 0.5).float() == several).all()
    judge = judge_for(model)
    figures = judge.figures(judge.merged([judge.tally(likely, (images, several))]))
    assert figures == {"accuracy": 1.0, "f1": 1.0}


def test_chips_of_no_class_count_for_nothing(row):
    model, (images, labels) = adapter_model(row), learnable(row)
    model.network.eval()
    with torch.no_grad():
        some, likely = model.judged((images[:2], labels[:2]))
        unknown, more = model.judged((images, torch.cat([labels[:2], torch.full((2,), -1)])))
    torch.testing.assert_close(some, unknown)
    judge = judge_for(model)
    assert int(judge.tally(likely, (None, labels[:2])).sum()) == 2
    assert int(judge.tally(more, (None, torch.full((4,), -1))).sum()) == 0
    assert torch.isfinite(model.loss(torch.zeros(2, 3), torch.full((2,), -1)))


def test_heat_lies_on_the_chip_and_changes_nothing(row):
    model, images = adapter_model(row), noise(row, 2)
    model.network.eval()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    with torch.inference_mode():
        heat = model.heat(images, torch.tensor([0, 2]))
    assert heat.shape == (2, *images.shape[-2:])
    assert float(heat.min()) >= 0
    assert float(heat.max()) <= 1
    assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())
    assert all(p.grad is None for p in model.network.parameters())


def test_heat_is_where_the_class_is_seen(row):
    """One layer of known weights: the slope of each feature map is the weight that it has in the score."""
    model = adapter_model(row)
    model.network.eval()
    images, place = noise(row, 1), torch.tensor([1])
    features = model.network.features(images).detach().requires_grad_()
    score = model.network.scored(features)[0, 1]
    (slopes,) = torch.autograd.grad(score, features)
    by_hand = np.zeros(features.shape[-2:])
    for channel in range(features.shape[1]):
        by_hand += float(slopes[0, channel].mean()) * features[0, channel].detach().numpy()
    by_hand = by_hand.clip(0)
    heat = model.heat(images, place)[0]
    coarse = heat.reshape(by_hand.shape[0], -1, by_hand.shape[1], heat.shape[1] // by_hand.shape[1])
    means = coarse.mean(dim=(1, 3)).numpy()
    if by_hand.max() > 0:
        assert np.unravel_index(means.argmax(), means.shape) == np.unravel_index(
            by_hand.argmax(), by_hand.shape
        )
    else:
        assert heat.max() == 0


def test_a_model_without_data_has_no_figures(row):
    with pytest.raises(SettingError, match="needs data"):
        adapter_model(row).accuracy()
