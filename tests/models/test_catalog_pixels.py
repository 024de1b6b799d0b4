"""What every model class must do that gives pixels one of many classes."""

import json

import pytest
import torch

from rasterloom.models.contract import ModelSpec
from tests.support.adapters import adapter_model, classifiers, images, kinds, learnable, seeded_loss

pytestmark = [
    pytest.mark.parametrize("row", classifiers(), ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.mark.parametrize("bands", [1, 3, 5, 13])
def test_logits_and_probabilities_have_a_channel_for_each_output(row, bands):
    model = adapter_model(row, bands=bands)
    model.network.eval()
    with torch.inference_mode():
        logits = model.network(images(2, bands=bands))
        probabilities = model.probabilities(logits)
    assert logits.shape == (2, len(model.spec.output_values), 32, 32)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 32))


def test_the_settings_of_the_loss_survive_json(row):
    spec = adapter_model(row, class_weights={7: 2.0}, ignore_classes=[2]).spec
    again = ModelSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.parameters["ignore_classes"] == [2]


def test_pixels_of_ignored_classes_move_no_weight(row):
    for changes in kinds(row):
        model = adapter_model(row, ignore_classes=[2], **changes)
        batch, target = learnable(row)
        position = model.spec.output_values.index(2)
        seeded_loss(model, (batch, torch.full_like(target, position))).backward()
        assert all(torch.count_nonzero(p.grad) == 0 for p in model.network.parameters()), changes
        # a class that is ignored is the same as no class at all
        gradients = []
        for label in (position, -1):
            model.network.zero_grad()
            seeded_loss(model, (batch, target.masked_fill(target == 1, label))).backward()
            gradients.append([p.grad.clone() for p in model.network.parameters()])
        assert all(map(torch.equal, *gradients)), changes
        assert any(torch.count_nonzero(g) for g in gradients[0]), changes


def test_scores_of_ignored_classes_have_no_gradient_and_are_never_predicted(row):
    for changes in kinds(row):
        model = adapter_model(row, ignore_classes=[2], **changes)
        position = model.spec.output_values.index(2)
        logits = torch.randn(2, 4, 8, 8, requires_grad=True)
        model.loss(logits, torch.randint(0, 4, (2, 8, 8))).backward()
        assert torch.count_nonzero(logits.grad[:, position]) == 0
        assert torch.count_nonzero(logits.grad) > 0
        model.network.eval()
        with torch.no_grad():
            assert (model.judged(learnable(row))[1] != position).all(), changes
