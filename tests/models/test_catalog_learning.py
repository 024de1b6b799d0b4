"""What every model class makes of a tiny set; in one file, so that each learns it once."""

import pytest
import torch
from torchvision.ops import box_iou

from rasterloom.models.contract import Task
from tests.support.adapters import ONE_CLASS, TRAINABLE, kinds, learnable, of_task, trained

pytestmark = pytest.mark.usefixtures("one_thread")


def rows(some):
    """Parametrise a test by rows of the catalog."""
    return pytest.mark.parametrize("row", some, ids=lambda row: row.name)


@rows(TRAINABLE)
def test_the_loss_falls_by_half_on_a_tiny_set(row):
    for changes in kinds(row):
        _, losses = trained(row, **changes)
        assert losses[-1] < losses[0] / 2, changes


@rows(of_task(Task.OBJECTS))
def test_even_rectangles_are_found_after_some_steps(row):
    for changes in kinds(row):
        model, _ = trained(row, **changes)
        pictures, targets = learnable(row)
        model.network.eval()
        with torch.inference_mode():
            found = model.detect(pictures, threshold=0.3)
        for chip, truth in zip(found, targets, strict=True):
            shares = box_iou(truth["boxes"], chip["boxes"])
            same = truth["labels"][:, None] == chip["labels"][None]
            assert ((shares > 0.5) & same).any(dim=1).all(), changes


@rows([row for row in TRAINABLE if row.name in ONE_CLASS])
def test_after_training_most_pixels_are_told_apart(row):
    model, _ = trained(row)
    batch = learnable(row)
    model.network.eval()
    with torch.no_grad():
        _, found = model.judged(batch)
    assert (found == batch[1]).double().mean() > 0.8


@rows(of_task(Task.SCENES))
def test_chips_are_told_apart_after_some_steps(row):
    for changes in kinds(row):
        model, _ = trained(row, **changes)
        images, labels = learnable(row)
        model.network.eval()
        assert model.classify_chips(images).argmax(dim=1).tolist() == labels.tolist(), changes
