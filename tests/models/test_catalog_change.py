"""What every model class must do that compares two dates."""

import pytest
import torch

from rasterloom.models.contract import ClassInfo, Task
from rasterloom.pipeline.inference.change.network import BothDates
from tests.support.adapters import adapter_model, adapter_spec, images, kinds, learnable, of_task, seeded_loss

pytestmark = [
    pytest.mark.parametrize("row", of_task(Task.CHANGE), ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.mark.parametrize("bands", [1, 3, 5, 13])
def test_logits_and_probabilities_have_a_channel_for_each_output(row, bands):
    model = adapter_model(row, bands=bands)
    model.network.eval()
    dates = images(4, bands=bands).split(2)
    with torch.inference_mode():
        logits = model.change_logits(*dates)
        probabilities = model.probabilities(logits)
        scores = model.scores(logits)
    assert logits.shape == (2, len(model.spec.output_values), 32, 32)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 32))
    assert torch.equal(scores.argmax(1), probabilities.argmax(1))


def test_the_spec_is_that_of_one_date_and_output_0_is_no_change(row):
    for bands in (1, 3):
        model = adapter_model(row, bands=bands)
        assert model.spec.band_count == len(model.spec.normalization.mean) == bands
        assert model.spec.output_values[0] == 0


def test_equal_images_show_no_change(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        model.network.eval()
        with torch.inference_mode():
            assert (model.change_logits(images(2), images(2)).argmax(1) == 0).all(), changes


def test_one_class_of_change_is_enough(row):
    spec = adapter_spec(row)
    one = type(spec)(**{**vars(spec), "classes": (ClassInfo(255, "Change", (255, 0, 0)),)})
    model = row.load().from_spec(one)
    with torch.inference_mode():
        assert model.change_logits(*images(4).split(2)).shape == (2, 2, 32, 32)
    dates, target = learnable(row)
    loss = seeded_loss(model, (dates, (target > 0).long()))
    loss.backward()
    assert torch.isfinite(loss)


def test_the_position_that_is_judged_is_the_likeliest_output(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        model.network.eval()
        dates, target = learnable(row)
        with torch.no_grad():
            loss, positions = model.judged((dates, target))
            wanted = model.probabilities(model.change_logits(*dates)).argmax(1)
            assert torch.equal(loss, model.loss(model.change_logits(*dates), target))
        assert torch.equal(positions, wanted)


def test_pixels_that_count_for_nothing_move_no_weight(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        dates, target = learnable(row)
        seeded_loss(model, (dates, torch.full_like(target, -1))).backward()
        assert all(torch.count_nonzero(p.grad) == 0 for p in model.network.parameters()), changes


def test_the_bands_of_both_dates_at_once_give_the_same(row):
    model = adapter_model(row)
    model.network.eval()
    before, after = images(4).split(2)
    with torch.inference_mode():
        stacked = BothDates(model).network(torch.cat([before, after], dim=1))
        torch.testing.assert_close(stacked, model.change_logits(before, after), rtol=1e-4, atol=1e-4)
