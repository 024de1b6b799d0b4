import errno
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.store.append import carried, check_append, merged_spec, source_positions
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.kinds import KINDS
from rasterloom.pipeline.store.read import ChipStore
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.stores import assert_same, finish, make_block, make_spec, write_store

ROAD = ClassInfo(7, "road", (90, 90, 90))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def append(path, base, spec, *, shard):
    """Write chips behind those of a store, through another process's eyes; returns the writer."""
    created = ChipWriter.create(path, spec, shard=shard, base=ChipStore(base))
    writer = ChipWriter.open(path)
    assert writer == created
    there = carried(ChipStore(base), range(len(ChipStore(base))), spec)
    whole = ChipBlock.joined([there, make_block(spec, len(there), spec.chips)])
    for start in range(writer.first, spec.chips, writer.shard):
        stop = min(start + writer.shard, spec.chips)
        writer.write(start, whole.of(range(start, stop)))
    finish(writer, [whole])
    return writer


@pytest.mark.parametrize("metadata_format", KINDS)
@pytest.mark.parametrize(("there", "first"), [(10, 10), (17, 15), (3, 0)])
def test_appended_chips_are_as_if_written_at_once(tmp_path, metadata_format, there, first):
    spec = make_spec(23, metadata_format=metadata_format, bands2=1)
    write_store(tmp_path / "base.zarr", replace(spec, chips=there), shard=5)
    write_store(tmp_path / "once.zarr", spec, shard=5)
    # a base of fewer chips than a shard has a smaller shard, and nothing of it can be linked
    assert append(tmp_path / "both.zarr", tmp_path / "base.zarr", spec, shard=5).first == first
    assert contents(tmp_path / "both.zarr") == contents(tmp_path / "once.zarr")


def test_whole_shards_are_not_written_again(tmp_path):
    spec = make_spec(23, metadata_format="RCNN_Masks")
    write_store(tmp_path / "base.zarr", replace(spec, chips=17), shard=5)
    append(tmp_path / "both.zarr", tmp_path / "base.zarr", spec, shard=5)
    shard = "images/c/{}/0/0/0"
    for number in range(3):
        assert (tmp_path / "base.zarr" / shard.format(number)).samefile(
            tmp_path / "both.zarr" / shard.format(number)
        )
    assert not (tmp_path / "base.zarr" / shard.format(3)).samefile(tmp_path / "both.zarr" / shard.format(3))


def test_appending_leaves_the_first_store_as_it_was(tmp_path):
    spec = make_spec(23, metadata_format="Panoptic_Segmentation")
    write_store(tmp_path / "base.zarr", replace(spec, chips=12), shard=5)
    before = contents(tmp_path / "base.zarr")
    append(tmp_path / "both.zarr", tmp_path / "base.zarr", spec, shard=5)
    assert contents(tmp_path / "base.zarr") == before


def test_shards_are_copied_where_the_disk_cannot_link(tmp_path, monkeypatch):
    def unable(*_args, **_kwargs):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    spec = make_spec(23, metadata_format="RCNN_Masks")
    write_store(tmp_path / "base.zarr", replace(spec, chips=17), shard=5)
    write_store(tmp_path / "once.zarr", spec, shard=5)
    # of this module alone: zarr links too
    monkeypatch.setattr("rasterloom.pipeline.store.append.os", SimpleNamespace(link=unable))
    assert append(tmp_path / "both.zarr", tmp_path / "base.zarr", spec, shard=5).first == 15
    assert contents(tmp_path / "both.zarr") == contents(tmp_path / "once.zarr")


def test_chips_that_were_taken_over_are_not_written_over(tmp_path):
    spec = make_spec(23)
    write_store(tmp_path / "base.zarr", replace(spec, chips=10), shard=5)
    writer = ChipWriter.create(tmp_path / "both.zarr", spec, shard=5, base=ChipStore(tmp_path / "base.zarr"))
    with pytest.raises(StoreError, match="from 10 on"):
        writer.write(5, make_block(spec, 5, 10))


@pytest.mark.parametrize("metadata_format", ["Classified_Tiles", "MultiLabeled_Tiles"])
def test_a_wider_store_takes_the_chips_over_one_by_one(tmp_path, metadata_format):
    spec = make_spec(10, metadata_format=metadata_format)
    whole = ChipBlock.joined(write_store(tmp_path / "base.zarr", spec, shard=5))
    wide = "uint16" if spec.kind.masks else ""
    more = replace(
        spec, chips=13, classes=(ClassInfo(0, "none", (0, 0, 0)), *spec.classes, ROAD), mask_dtype=wide
    )
    both = merged_spec(spec, more)
    assert [c.value for c in both.classes] == [0, 1, 2, 7]
    assert append(tmp_path / "both.zarr", tmp_path / "base.zarr", both, shard=5).first == 0
    read = ChipStore(tmp_path / "both.zarr").block(range(10))
    if spec.kind.several_labels:
        assert (read.labels[:, 1:3] == whole.labels).all()
        assert not read.labels[:, [0, 3]].any()
        read = replace(read, labels=whole.labels)
    assert_same(read, whole)


def test_sources_that_are_there_already_are_not_listed_twice():
    base = replace(make_spec(4), sources=("a.tif", "b.tif"))
    new = replace(make_spec(3), sources=("c.tif", "b.tif"))
    both = merged_spec(base, new)
    assert both.sources == ("a.tif", "b.tif", "c.tif")
    assert both.source_crs == ()
    assert both.chips == 7
    assert source_positions(new, both).tolist() == [2, 1]


def test_sources_of_another_crs_keep_theirs():
    base = replace(make_spec(4), sources=("a.tif",))
    new = replace(make_spec(3), sources=("a.tif",), crs="EPSG:4326")
    both = merged_spec(base, new)
    assert (both.sources, both.source_crs) == (("a.tif", "a.tif"), ("EPSG:32633", "EPSG:4326"))
    assert source_positions(new, both).tolist() == [1]
    assert merged_spec(both, new).sources == both.sources


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"metadata_format": "Labeled_Tiles"},
            "metadata_format Classified_Tiles, and the new ones Labeled_Tiles",
        ),
        ({"tile": (32, 32)}, "tile 16, 24, and the new ones 32, 32"),
        ({"bands": ("red",)}, "bands band 0, band 1, band 2, and the new ones red"),
        ({"dtype": "uint16"}, "dtype uint8, and the new ones uint16"),
        ({"bands2": ("red",), "dtype2": "uint8"}, "bands2 none, and the new ones red"),
        ({"classes": (ClassInfo(2, "road", (0, 0, 0)),)}, "class 2 is 'lake' .* and 'road' in the new ones"),
        (
            {"classes": (ClassInfo(3, "lake", (0, 0, 0)),)},
            "class 'lake' has value 2 .* and 3 in the new ones",
        ),
    ],
)
def test_chips_that_do_not_agree_are_refused(tmp_path, change, message):
    spec = replace(make_spec(9), **change)
    with pytest.raises(StoreError, match=message):
        check_append(make_spec(4), spec)
    write_store(tmp_path / "base.zarr", make_spec(4))
    with pytest.raises(StoreError, match=message):
        ChipWriter.create(tmp_path / "both.zarr", spec, base=ChipStore(tmp_path / "base.zarr"))
    assert not (tmp_path / "both.zarr").exists()


def test_a_store_of_before_there_were_numbers_is_taken_over(tmp_path):
    spec = make_spec(13)
    write_store(tmp_path / "base.zarr", replace(spec, chips=10), shard=5)
    shutil.rmtree(tmp_path / "base.zarr" / "number")
    assert append(tmp_path / "both.zarr", tmp_path / "base.zarr", spec, shard=5).first == 0
    chips = ChipStore(tmp_path / "both.zarr")
    assert (chips.numbers[:10] == np.arange(10)).all()
    assert_same(
        replace(chips.block(range(10)), numbers=make_block(spec, 0, 10).numbers), make_block(spec, 0, 10)
    )
