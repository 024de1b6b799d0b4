"""Judging a model on the validation set."""

import numpy as np
import torch

from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.training.evaluate import count_batch, evaluate
from tests.pipeline.training.tiny_models import TinyModel


def test_the_counts_are_those_of_the_whole_set_at_once(data):
    model = TinyModel(data)
    found = evaluate(model, data, show_progress=False)
    images, targets = (torch.cat(parts) for parts in zip(*data.valid_loader(), strict=True))
    model.network.eval()
    with torch.no_grad():
        positions = model.network(images).argmax(dim=1)
    values = np.array(data.output_values)
    assert found == Confusion.of(values[targets.numpy()], values[positions.numpy()], data.output_values)
    assert found.total == len(data.valid) * 24 * 24


def test_the_network_is_left_as_it_was(data, capsys):
    model = TinyModel(data)
    model.network.train()
    model.network[3].eval()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    evaluate(model, data, show_progress=False)
    assert capsys.readouterr().out == ""
    assert [part.training for part in model.network] == [True, True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.network.state_dict().items())
    assert all(p.requires_grad and p.is_contiguous() for p in model.network.parameters())
    model.loss(*_logits_and_targets(model, data)).backward()


def _logits_and_targets(model, data):
    images, targets = next(iter(data.train_loader()))
    return model.network(images), targets


def test_counts_on_the_device_are_those_of_the_metric():
    rng = np.random.default_rng(0)
    truth, given = rng.integers(0, 4, (2, 3, 5, 6))
    counted = count_batch(torch.from_numpy(given), torch.from_numpy(truth), 4)
    assert (counted.numpy() == Confusion.of(truth, given, (0, 1, 2, 3)).counts).all()
