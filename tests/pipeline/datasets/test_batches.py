"""Order, preparation and repetition of batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.models.contract import Normalization
from rasterloom.pipeline.datasets.augment import Augmentation
from rasterloom.pipeline.datasets.lots import Lot
from rasterloom.pipeline.datasets.order import EpochOrder, unpaired_order
from rasterloom.pipeline.datasets.preparation import Preparation, Scaling
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.datasets.samples import RawBatch
from rasterloom.pipeline.store.read import ChipStore
from tests.pipeline.datasets.stores import numbered_chips, toy_chips, write_store


def raw_batch(images, masks):
    frame = np.tile(np.array(images.shape[-2:]), (len(images), 1))
    return RawBatch(images, np.arange(len(images)), frame, frame, masks=masks)


def scaled(mean, std):
    return Scaling(Normalization(mean, std), ((0.0,) * len(mean), (255.0,) * len(mean)))


def prepared(prepare, raw, *, seed=0):
    return prepare(raw, Lot(seed), np.zeros(len(raw), np.int64), torch.device("cpu"))


def joined(batches):
    return [position for batch in batches for position in batch]


@settings(max_examples=60)
@given(count=st.integers(1, 40), batch_size=st.integers(2, 9), shuffle=st.booleans(), seed=st.integers(0, 5))
def test_an_epoch_visits_each_chip_once(count, batch_size, shuffle, seed):
    order = EpochOrder(count, batch_size=batch_size, seed=seed, shuffle=shuffle)
    batches = list(order)
    assert len(batches) == len(order)
    assert sorted(joined(batches)) == list(range(count))
    assert max(len(b) for b in batches) <= batch_size + int(shuffle)
    if shuffle and count > 1:
        assert min(len(b) for b in batches) >= 2
    if not shuffle:
        assert joined(batches) == list(range(count))


@settings(max_examples=30)
@given(count=st.integers(1, 9), batch_size=st.integers(2, 20), iterations=st.integers(1, 12))
def test_a_given_number_of_iterations_goes_round_evenly(count, batch_size, iterations):
    order = EpochOrder(count, batch_size=batch_size, seed=0, shuffle=True, iterations=iterations)
    batches = list(order)
    assert len(batches) == len(order) == iterations
    assert {len(b) for b in batches} == {min(count, batch_size)}
    visits = np.bincount(joined(batches), minlength=count)
    assert visits.max() - visits.min() <= 1


def test_epochs_differ_and_repeat():
    order = EpochOrder(20, batch_size=4, seed=1, shuffle=True)
    first = list(order)
    order.set_epoch(1)
    assert list(order) != first
    order.set_epoch(0)
    assert list(order) == first


@settings(max_examples=20)
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64", "int32"]), seed=st.integers(0, 9)
)
def test_pixels_are_scaled_as_the_normalization_says(dtype, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 200, (3, 2, 6, 6)).astype(dtype)
    raw = raw_batch(pixels, rng.integers(0, 3, (3, 6, 6)).astype(np.uint8))
    prepare = Preparation(scaling=scaled((10.0, 20.0), (2.0, 4.0)), size=(4, 4), random=False)
    images, targets = prepared(prepare, raw)
    middle = pixels[:, :, 1:5, 1:5].astype(np.float64)
    expected = (middle - np.array([10, 20])[:, None, None]) / np.array([2, 4])[:, None, None]
    np.testing.assert_allclose(images.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert targets.dtype == torch.int64
    assert (targets.numpy() == raw.masks[:, 1:5, 1:5]).all()


def test_light_changes_are_made_on_normalised_pixels():
    raw = raw_batch(np.full((50, 1, 4, 4), 30, np.uint8), np.zeros((50, 4, 4), np.uint8))
    prepare = Preparation(
        scaling=scaled((10.0,), (10.0,)),
        size=None,
        random=True,
        augmentation=Augmentation(brightness=0.0, contrast=0.1, band=0.0),
    )
    images, _ = prepared(prepare, raw)
    assert 1.8 <= images.min() < 1.9
    assert 2.1 < images.max() <= 2.2


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("chips") / "toy.zarr", *toy_chips(14, side=16))


def epoch(data, number, **kwargs):
    loader = data.train_loader(**kwargs)
    loader.batch_sampler.set_epoch(number)
    return list(loader)


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_the_same_seed_and_epoch_give_the_same_batches(store):
    data = prepare_data(store, chip_size=8, batch_size=4)
    assert same(epoch(data, 2), epoch(data, 2))
    assert not same(epoch(data, 2), epoch(data, 3))
    assert not same(epoch(data, 2), epoch(data, 2, seed=7))


def test_worker_processes_change_nothing(store):
    alone = prepare_data(store, chip_size=8, batch_size=4)
    helped = prepare_data(store, chip_size=8, batch_size=4, num_workers=1)
    assert same(epoch(alone, 1), epoch(helped, 1))


def test_a_pass_can_be_left_early_and_begun_again(store):
    loader = prepare_data(store, chip_size=8, batch_size=4).train_loader()
    passing = iter(loader)
    first = next(passing)
    passing.close()
    assert torch.equal(next(iter(loader))[0], first[0])


def test_validation_batches_come_in_order_and_unchanged(tmp_path):
    path = write_store(tmp_path / "numbered.zarr", *numbered_chips(10))
    data = prepare_data(path, chip_size=4, val_split_pct=0.5, batch_size=3, imagery_type="multispectral")
    images = torch.cat([images for images, _ in data.valid_loader()])
    mean, std = data.normalization.mean[0], data.normalization.std[0]
    shown = (images[:, 0, 0, 0] * std + mean).round().long().tolist()
    assert shown == data.valid.indices.tolist()
    assert len(data.valid_loader()) == 2


def test_one_batch_is_one_read_of_the_store(store, monkeypatch):
    data = prepare_data(store, chip_size=8, batch_size=4)
    reads = []
    images = ChipStore.images
    monkeypatch.setattr(ChipStore, "images", lambda self, i: reads.append(len(i)) or images(self, i))
    list(data.train_loader())
    assert reads == [len(b) for b in data.train_loader().batch_sampler]


def test_an_error_in_reading_reaches_the_caller(store, monkeypatch):
    data = prepare_data(store, chip_size=8, batch_size=4)

    def broken(self, indices):
        raise OSError("the disk is gone")

    monkeypatch.setattr(ChipStore, "images", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        list(data.train_loader())


def test_a_chip_looks_the_same_in_whatever_batch_it_is(store):
    """Views are decided by seed, epoch and chip."""
    small, large = (prepare_data(store, chip_size=8, batch_size=size) for size in (2, 5))
    seen = []
    for data in (small, large):
        loader = data.train_loader()
        order = joined(loader.batch_sampler)
        images = torch.cat([images for images, _ in loader])
        seen.append(images[np.argsort(order)])
    # a batch in which no chip is zoomed keeps whole numbers until it is scaled
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-6)


def test_a_chip_that_comes_again_in_an_epoch_looks_different(store):
    data = prepare_data(store, chip_size=8, batch_size=4)
    loader = data.train_loader(iterations=7)
    order = np.array(joined(loader.batch_sampler))
    images = torch.cat([images for images, _ in loader])
    for chip in np.unique(order):
        views = images[np.flatnonzero(order == chip)]
        assert len(views) >= 2
        assert not torch.equal(views[0], views[1])


@settings(max_examples=30)
@given(first=st.integers(1, 20), second=st.integers(1, 20), batch_size=st.integers(2, 6))
def test_unpaired_chips_go_round_until_all_were_seen(first, second, batch_size):
    order = unpaired_order((first, second), batch_size=batch_size, seed=0, shuffle=True)
    pairs = joined(order)
    assert {a for a, _ in pairs} == set(range(first))
    assert {b for _, b in pairs} == set(range(second))
    order.set_epoch(1)
    assert min(first, second) == 1 or len(pairs) < 8 or joined(order) != pairs


def test_the_callers_random_numbers_repeat_with_seed_and_epoch_and_disturb_nobody(store):
    def noisy(images, targets):
        return images + torch.rand(1), targets

    data = prepare_data(store, chip_size=8, batch_size=4, transforms=(noisy, None))
    torch.manual_seed(5)
    first = epoch(data, 1)
    after = torch.rand(3)
    torch.manual_seed(6)
    assert same(first, epoch(data, 1))
    assert not same(first, epoch(data, 2))
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))


def test_samples_come_one_by_one_as_they_come_in_batches(store):
    data = prepare_data(store, chip_size=8, batch_size=4, val_split_pct=0.4)
    images, targets = next(iter(data.valid_dl))
    assert len(data.valid_ds) == len(data.valid)
    for number in range(4):
        image, target = data.valid_ds[number]
        assert torch.equal(image, images[number])
        assert torch.equal(target, targets[number])
    with pytest.raises(IndexError, match="there are"):
        data.valid_ds[len(data.valid)]
    loader = torch.utils.data.DataLoader(data.train_ds, batch_size=3)
    assert next(iter(loader))[0].shape == (3, 4, 8, 8)
    assert len(data.train_dl) == len(data.train_loader())
