import json
import multiprocessing
import pickle
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store import read
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats
from rasterloom.pipeline.store.kinds import KINDS
from rasterloom.pipeline.store.read import ChipStore, is_chip_store
from rasterloom.pipeline.store.tally import label_stats
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.stores import assert_same, band_stats, make_block, make_spec, write_store


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


def written(path, metadata_format, **more):
    spec = make_spec(23, metadata_format=metadata_format, **more)
    return ChipStore(path), ChipBlock.joined(write_store(path, spec, shard=10))


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("metadata_format", KINDS)
def test_chips_of_every_format_come_back_whole(tmp_path, metadata_format, pair):
    chips, whole = written(tmp_path / "a.zarr", metadata_format, bands2=2 * pair)
    assert_same(chips.block(range(23)), whole)
    assert chips.spec == make_spec(23, metadata_format=metadata_format, bands2=2 * pair)
    assert chips.label_stats == label_stats(whole, chips.spec)
    assert chips.stats2 == (band_stats(whole.images2) if pair else None)
    assert (chips.numbers == whole.numbers).all()


@pytest.fixture(scope="module", params=["Panoptic_Segmentation", "KITTI_rectangles", "MultiLabeled_Tiles"])
def whole_store(request, tmp_path_factory):
    return written(tmp_path_factory.mktemp("stores") / "a.zarr", request.param)


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.integers(-23, 22), max_size=12), small=st.booleans(), straight=st.booleans())
def test_everything_comes_in_the_order_asked_for(whole_store, order, small, straight):
    chips, whole = ChipStore(whole_store[0].path), whole_store[1]
    with pytest.MonkeyPatch.context() as patch:
        if not small:  # rows are read one by one, as in a store of millions of objects
            patch.setattr(read, "SMALL", 0)
        if not straight:
            patch.setattr("rasterloom.pipeline.store.shards.ShardedArray.open", lambda path: None)
        assert_same(chips.block(order), whole.of(order))


def test_objects_are_read_without_zarr_once_they_are_many(tmp_path, monkeypatch):
    chips, whole = written(tmp_path / "a.zarr", "RCNN_Masks")
    monkeypatch.setattr(read, "SMALL", 0)
    chips.objects([0])
    monkeypatch.setattr(ChipStore, "_group", None)
    assert_same(chips.objects([22, 4, 4]), whole.objects.of([22, 4, 4]))


def test_chips_without_any_object_come_back(tmp_path):
    spec = make_spec(5, metadata_format="COCO")
    block = make_block(spec, 2, 3).of([0] * 5)
    writer = ChipWriter.create(tmp_path / "a.zarr", spec)
    writer.write(0, block)
    writer.finish(band_stats(block.images), label_stats(block, spec))
    objects = ChipStore(tmp_path / "a.zarr").objects(range(5))
    assert objects.counts.tolist() == [0] * 5
    assert objects.runs.shape == (0, 2)
    assert objects.boxes.shape == (0, 4)


def test_chips_keep_their_own_size(tmp_path):
    spec = make_spec(4, metadata_format="Imagenet")
    sizes = np.array([[16, 24], [3, 24], [16, 1], [7, 9]])
    block = replace(make_block(spec, 0, 4), sizes=sizes)
    writer = ChipWriter.create(tmp_path / "a.zarr", spec)
    writer.write(0, block)
    writer.finish(band_stats(block.images), label_stats(block, spec))
    chips = ChipStore(tmp_path / "a.zarr")
    assert (chips.block([3, 1]).sizes == sizes[[3, 1]]).all()
    assert chips.block([0]).sizes is None


@pytest.mark.parametrize(
    ("metadata_format", "part", "what"),
    [
        ("KITTI_rectangles", "masks", "masks"),
        ("Classified_Tiles", "objects", "objects"),
        ("Classified_Tiles", "images2", "second images"),
        ("Export_Tiles", "labels", "labels"),
    ],
)
def test_a_part_that_the_chips_do_not_have_is_refused(tmp_path, metadata_format, part, what):
    chips, _ = written(tmp_path / "a.zarr", metadata_format)
    with pytest.raises(StoreError, match=f"holds {metadata_format} chips, which have no {what}"):
        getattr(chips, part)([0])


def test_a_store_that_was_written_before_there_were_other_formats_still_opens(tmp_path):
    chips, whole = written(tmp_path / "a.zarr", "Classified_Tiles")
    for name in ("number", "size"):
        shutil.rmtree(tmp_path / "a.zarr" / name)
    newer = ("metadata_format", "bands2", "dtype2", "instance_classes", "source_crs", "label_statistics")
    change_attributes(chips, lambda attributes: [attributes.pop(name) for name in newer])
    change_attributes(chips, lambda attributes: attributes["parameters"].update(start_index=7))
    old = ChipStore(chips.path)
    numbered = replace(whole, numbers=np.arange(7, 30))
    assert_same(old.block(range(23)), numbered)
    assert old.spec == replace(make_spec(23), parameters={"start_index": 7})
    assert (old.numbers == numbered.numbers).all()
    assert old.label_stats == label_stats(whole, old.spec)


def test_a_random_batch_costs_a_loader_little(tmp_path):
    spec = make_spec(256, tile=(256, 256))
    writer = ChipWriter.create(tmp_path / "a.zarr", spec)
    writer.write(0, make_block(spec, 0, 256))
    writer.finish(BandStats.empty(3), LabelStats())
    chips = ChipStore(tmp_path / "a.zarr")
    chips.images([0])
    generator = np.random.default_rng(0)
    batches = [generator.permutation(256)[:64] for _ in range(4)]
    started = time.process_time()
    for batch in batches:
        chips.images(batch)
    # 4,900 a second measured on one core; zarr-python alone gives fewer than 100
    assert 256 / (time.process_time() - started) > 900
