"""How many chips fit in memory."""

import pytest
import torch
from torch import nn

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.training import batch_size
from rasterloom.pipeline.training.batch_size import LiveMemory, estimate_batch_size
from tests.pipeline.training.runs import same, weights
from tests.pipeline.training.tiny_detectors import bright_spots
from tests.pipeline.training.tiny_models import TinyModel


@pytest.fixture
def model(data):
    return TinyModel(data)


def with_free(monkeypatch, size):
    memory = type("Memory", (), {"available": size})
    monkeypatch.setattr(batch_size.psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(batch_size, "fastest_device", lambda: torch.device("cpu"))


def test_twice_the_memory_takes_twice_the_chips(model, monkeypatch):
    found = []
    for megabytes in (20, 40):
        with_free(monkeypatch, megabytes * 1e6)
        found.append(estimate_batch_size(model).max_batchsize)
    assert 2 < found[0] < found[1] < 1024
    assert abs(found[1] - 2 * found[0]) <= 2


def test_training_takes_more_memory_than_predicting(model, monkeypatch):
    with_free(monkeypatch, 2e7)
    assert estimate_batch_size(model).max_batchsize < estimate_batch_size(model, mode="eval").max_batchsize


@pytest.mark.parametrize(
    ("free", "mode", "expected"),
    [(1e15, "train", (64, 1024)), (1e15, "eval", (1024, 1024)), (0, "train", (2, 2)), (0, "eval", (1, 1))],
)
def test_batches_stay_between_their_limits(model, monkeypatch, free, mode, expected):
    with_free(monkeypatch, free)
    sizes = estimate_batch_size(model, mode)
    assert (sizes.recommended_batchsize, sizes.max_batchsize) == tuple(sizes) == expected


def test_the_recommended_size_is_a_power_of_two_that_fits(model, monkeypatch):
    for megabytes in range(10, 60, 7):
        with_free(monkeypatch, megabytes * 1e6)
        sizes = estimate_batch_size(model, "eval")
        assert sizes.recommended_batchsize <= sizes.max_batchsize < 2 * sizes.recommended_batchsize


def test_the_model_is_left_as_it_was(model):
    model.network.eval()
    before, state = weights(model), torch.get_rng_state()
    estimate_batch_size(model)
    assert same(before, weights(model))
    assert not model.network.training
    assert all(p.grad is None for p in model.network.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_chips_with_objects_are_estimated_too(object_data, monkeypatch):
    found = []
    for megabytes in (20, 40):
        with_free(monkeypatch, megabytes * 1e6)
        found.append(estimate_batch_size(bright_spots(object_data)).max_batchsize)
    assert 2 < found[0] < found[1] < 1024
    assert estimate_batch_size(bright_spots(object_data), "eval").max_batchsize > found[1]


def test_live_tensors_are_counted_once_and_only_while_they_live():
    first = torch.ones(1000)
    with LiveMemory() as live:
        kept = first + 1  # 4000 bytes
        view = kept.view(10, 100)
        view.add_(1)
        dropped = first * 2
        del dropped
        second = first - 1
    assert live.peak == 8000
    assert live.now == 8000
    del kept, view, second
    assert live.now == 0


def test_what_is_kept_for_the_gradients_is_counted():
    network = nn.Sequential(*(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Sigmoid()) for _ in range(4)))
    images = torch.rand(2, 4, 32, 32)
    with LiveMemory() as training:
        network(images).sum().backward()
    with LiveMemory() as judging, torch.no_grad():
        network(images)
    layer = 2 * 4 * 32 * 32 * 4  # bytes of one layer's output
    # each sigmoid's output, which the next layer needs too, and the last convolution's on its way
    assert 5 * layer <= training.peak < 6 * layer
    assert 2 * layer <= judging.peak <= 3 * layer


@pytest.mark.parametrize(
    ("settings", "remedy"), [({"mode": "test"}, "'train' or 'eval'"), ({"gpu": 1}, "not gpu")]
)
def test_settings_that_cannot_work_are_refused(model, settings, remedy):
    with pytest.raises(SettingError, match=remedy):
        estimate_batch_size(model, **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_of_the_estimated_size_fits_on_the_gpu(model):
    sizes = estimate_batch_size(model)
    batch = batch_size._chips(model, sizes.max_batchsize, torch.device("cuda"))
    with batch_size._borrowed(model, torch.device("cuda"), training=True):
        batch_size._step(model, batch, training=True)
