"""Judging a model on the validation set."""

import dataclasses

import numpy as np
import pytest
import torch

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.objects import Matches
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.training.evaluate import evaluate
from rasterloom.pipeline.training.learning import count_batch, match_batch
from tests.pipeline.training.tiny_detectors import bright_spots
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


def test_found_objects_are_matched_over_the_whole_validation_set(object_data):
    model = bright_spots(object_data)
    found = evaluate(model, object_data, show_progress=False)
    assert isinstance(found, Matches)
    batches = list(object_data.valid_loader())
    with torch.no_grad():
        chips = [chip for images, _ in batches for chip in model.detect(images)]
    expected = match_batch(chips, [t for _, targets in batches for t in targets], 2)
    assert found.truths.tolist() == expected.truths.tolist()
    assert found.right.tolist() == expected.right.tolist()
    assert len(found.labels) == len(object_data.valid)
    np.testing.assert_array_equal(found.average_precision(), expected.average_precision())


def test_threshold_and_overlap_are_the_callers(object_data):
    model = bright_spots(object_data)
    assert len(evaluate(model, object_data, show_progress=False, threshold=0.8).labels) == 0
    loose = evaluate(model, object_data, show_progress=False, iou=0.01)
    assert loose.right.sum() >= evaluate(model, object_data, show_progress=False, iou=0.9).right.sum()


def test_settings_of_another_task_are_refused(data, object_data):
    with pytest.raises(SettingError, match=r"iou for pixels: it takes show_progress\."):
        evaluate(TinyModel(data), data, show_progress=False, iou=0.5)
    with pytest.raises(SettingError, match="it takes show_progress, threshold, iou"):
        evaluate(bright_spots(object_data), object_data, show_progress=False, tresh=0.5)
    model = TinyModel(data)
    model.spec = dataclasses.replace(model.spec, task=Task.IMAGES)
    with pytest.raises(SettingError, match="not judged: it is for images"):
        evaluate(model, data)
