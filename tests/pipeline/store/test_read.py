import json
import multiprocessing
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.read import ChipStore, is_chip_store
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.stores import make_block, make_spec, write_store


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "a.zarr"
    return ChipStore(path), write_store(path, make_spec(23), shard=10)


def change_attributes(chips, change):
    file = Path(chips.path) / "zarr.json"
    plain = json.loads(file.read_text())
    change(plain["attributes"])
    file.write_text(json.dumps(plain))


def test_a_store_gives_back_what_was_written(store):
    chips, blocks = store
    assert len(chips) == 23
    assert chips.spec == make_spec(23)
    for name in ("images", "masks"):
        whole = np.concatenate([getattr(block, name) for block in blocks])
        assert (getattr(chips, name)(range(23)) == whole).all()
    for name in ("transforms", "windows", "source", "rotation"):
        assert (getattr(chips, name) == np.concatenate([getattr(block, name) for block in blocks])).all()
    assert chips.split.tolist() == ["", "train", "val", "test"] * 5 + ["", "train", "val"]
    masks = np.concatenate([block.masks for block in blocks])
    assert chips.class_pixels == {value: int((masks == value).sum()) for value in range(3)}
    images = np.concatenate([block.images for block in blocks])
    assert np.allclose(chips.stats.mean, images.mean(axis=(0, 2, 3)))
    assert np.allclose(chips.stats.std, images.std(axis=(0, 2, 3)))


def test_chips_come_in_the_order_asked_for(store):
    chips, _ = store
    order = [22, 3, 3, 15, 0, -1]
    assert (chips.images(order) == chips.images(range(23))[order]).all()
    assert chips.images([]).shape == (0, 3, 16, 24)


@pytest.mark.parametrize("chip", [23, -24])
def test_a_chip_that_is_not_there_is_refused(store, chip):
    with pytest.raises(IndexError, match="has chips 0 to 22"):
        store[0].images([0, chip])


def test_the_way_through_zarr_gives_the_same(store, monkeypatch):
    chips, _ = store
    direct = chips.images([5, 20, 5])
    monkeypatch.setattr("rasterloom.pipeline.store.shards.ShardedArray.open", lambda path: None)
    assert (ChipStore(chips.path).images([5, 20, 5]) == direct).all()


def test_a_store_in_memory_is_read_through_its_url(store):
    import fsspec

    chips, _ = store
    fsspec.filesystem("memory").put(chips.path, "/chips.zarr", recursive=True)
    remote = ChipStore("memory://chips.zarr")
    assert remote.spec == chips.spec
    assert (remote.masks([4, 17]) == chips.masks([4, 17])).all()


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    assert ChipStore(tmp_path / "nowhere.zarr").path.endswith("nowhere.zarr")


def test_only_the_path_is_pickled(store):
    chips, _ = store
    chips.images([0])
    assert len(pickle.dumps(chips)) < 300


def _sum(chips):
    return int(chips.images([1, 12]).sum()), len(chips.transforms)


@pytest.mark.parametrize("start", ["fork", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # the case under test
def test_a_store_that_was_used_works_in_child_processes(store, start):
    chips, _ = store
    expected = _sum(chips)
    with multiprocessing.get_context(start).Pool(1) as pool:
        assert pool.apply(_sum, (chips,)) == expected


@pytest.mark.parametrize("content", [None, "{}", "not json", "[]"])
def test_a_path_that_is_no_store_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(StoreError, match="not a chip store"):
        len(ChipStore(tmp_path))
    assert not is_chip_store(tmp_path)


def test_a_newer_format_is_refused_with_both_versions(store):
    change_attributes(store[0], lambda attributes: attributes.update(format_version=2))
    with pytest.raises(StoreError, match="format version 2, and this rasterloom reads up to 1"):
        len(ChipStore(store[0].path))


def test_a_store_that_was_never_completed_is_refused(store):
    change_attributes(store[0], lambda attributes: attributes.pop("statistics"))
    with pytest.raises(StoreError, match="never completed"):
        len(ChipStore(store[0].path))


def test_a_random_batch_costs_a_loader_little(tmp_path):
    spec = make_spec(256, tile=(256, 256))
    writer = ChipWriter.create(tmp_path / "a.zarr", spec)
    writer.write(0, make_block(spec, 0, 256))
    writer.finish(BandStats.empty(3), {})
    chips = ChipStore(tmp_path / "a.zarr")
    chips.images([0])
    generator = np.random.default_rng(0)
    batches = [generator.permutation(256)[:64] for _ in range(4)]
    started = time.process_time()
    for batch in batches:
        chips.images(batch)
    # 4,900 a second measured on one core; zarr-python alone gives fewer than 100
    assert 256 / (time.process_time() - started) > 900
