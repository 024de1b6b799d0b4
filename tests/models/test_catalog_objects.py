"""What every model class must do that finds objects."""

import pytest
import torch
from torchvision.ops import box_iou

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.objects.detector import checked_objects
from tests.support.adapters import (
    adapter_model,
    answers,
    kinds,
    learnable,
    noise,
    of_task,
    same_answers,
    seeded_loss,
)

pytestmark = [
    pytest.mark.parametrize("row", of_task(Task.OBJECTS), ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]


def _without_objects(batch):
    return batch[0], [{name: values[:0] for name, values in chip.items()} for chip in batch[1]]


def _found(model, pictures, **settings):
    model.network.eval()
    with torch.inference_mode():
        return model.detect(pictures, **settings)


def test_chips_without_objects_train(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        loss = seeded_loss(model, _without_objects(learnable(row)))
        loss.backward()
        assert torch.isfinite(loss), changes
        assert loss > 0, changes
        gradients = [p.grad for p in model.network.parameters() if p.grad is not None]
        assert all(torch.isfinite(g).all() for g in gradients), changes
        assert any(torch.count_nonzero(g) for g in gradients), changes


def test_what_is_found_keeps_to_the_contract(row):
    for changes in kinds(row):
        model, pictures = adapter_model(row, **changes), noise(row, 2)
        found = _found(model, pictures, threshold=0.0, nms_overlap=0.5)
        assert any(len(chip["labels"]) for chip in found), changes
        for chip in checked_objects(found, 2, classes=3, origin=row.name):
            boxes, scores = chip["boxes"], chip["scores"]
            assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
            assert boxes.min() >= 0
            assert boxes.max() <= pictures.shape[-1]
            assert ((scores >= 0) & (scores <= 1)).all()
            assert torch.equal(scores, scores.sort(descending=True).values)


def test_the_threshold_leaves_out_what_is_less_certain(row):
    model, pictures = adapter_model(row), noise(row, 2)
    everything = _found(model, pictures, threshold=0.0, nms_overlap=1.0)
    middle = float(torch.cat([chip["scores"] for chip in everything]).median())
    some = _found(model, pictures, threshold=middle, nms_overlap=1.0)
    for all_of, few in zip(everything, some, strict=True):
        kept = all_of["scores"] >= middle
        assert torch.equal(few["boxes"], all_of["boxes"][kept])
    assert 0 < sum(len(chip["scores"]) for chip in some) < sum(len(chip["scores"]) for chip in everything)


def test_objects_of_a_class_overlap_no_more_than_is_allowed(row):
    model, pictures = adapter_model(row), noise(row, 2)
    counts = []
    for most in (0.05, 0.4):
        found = _found(model, pictures, threshold=0.0, nms_overlap=most)
        counts.append(sum(len(chip["labels"]) for chip in found))
        for chip in found:
            shares = box_iou(chip["boxes"], chip["boxes"]).fill_diagonal_(0)
            same = chip["labels"][:, None] == chip["labels"][None]
            assert (shares[same] <= most + 1e-3).all()  # torchvision rounds otherwise
    assert counts[0] < counts[1]


def test_the_same_chips_give_the_same_objects_each_time(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        first, second = answers(model, noise(row, 3)), answers(model, noise(row, 3))
        assert same_answers(first, second), changes


def test_a_model_without_data_has_no_figures(row):
    with pytest.raises(SettingError, match="needs data"):
        adapter_model(row).average_precision_score()
