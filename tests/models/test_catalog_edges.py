"""What every model class must do that finds edges."""

import pytest
import torch

from rasterloom.models.catalog import CATALOG
from rasterloom.models.contract import Task
from tests.support.adapters import adapter_model, images, learnable, seeded_loss

pytestmark = [
    pytest.mark.parametrize("row", [row for row in CATALOG if row.lines], ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.mark.parametrize("bands", [1, 3, 5, 13])
def test_each_pixel_has_a_score_for_no_edge_and_for_edge(row, bands):
    model = adapter_model(row, bands=bands)
    model.network.eval()
    with torch.inference_mode():
        logits = model.network(images(2, bands=bands))
        probabilities = model.probabilities(logits)
    assert row.task is Task.PIXELS
    assert logits.shape == (2, len(model.spec.output_values), 32, 32) == (2, 2, 32, 32)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 32))


def test_pixels_without_a_label_move_no_weight(row):
    model = adapter_model(row)
    batch, target = learnable(row)
    seeded_loss(model, (batch, torch.full_like(target, -1))).backward()
    assert all(torch.count_nonzero(p.grad) == 0 for p in model.network.parameters())
