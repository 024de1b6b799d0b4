import errno
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from rasterloom.models.errors import OutputError, StoreError
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.stores import finish, make_block, make_spec, write_store


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_stranger_sees_plain_arrays_with_named_dimensions(tmp_path):
    blocks = write_store(tmp_path / "a.zarr", make_spec(23), shard=10)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert {name: array.metadata.dimension_names for name, array in group.arrays()} == {
        "images": ("chip", "band", "row", "column"),
        "masks": ("chip", "row", "column"),
        "transform": ("chip", "coefficient"),
        "window": ("chip", "side"),
        "source": ("chip",),
        "rotation": ("chip",),
        "split": ("chip",),
        "number": ("chip",),
        "size": ("chip", "side"),
    }
    assert (group["images"][:] == np.concatenate([b.images for b in blocks])).all()
    assert (group["masks"][:] == np.concatenate([b.masks for b in blocks])).all()
    assert (group["transform"][:] == np.concatenate([b.transforms for b in blocks])).all()
    assert group.attrs["format_version"] == 1


def test_a_stranger_sees_the_objects_as_flat_arrays(tmp_path):
    blocks = write_store(tmp_path / "a.zarr", make_spec(23, metadata_format="RCNN_Masks"), shard=10)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    objects = ChipBlock.joined(blocks).objects
    assert (group["box_offsets"][:] == objects.starts).all()
    assert (group["run_offsets"][:] == objects.run_starts).all()
    for name, values in (
        ("boxes", objects.boxes),
        ("box_labels", objects.values),
        ("box_shares", objects.shares),
        ("box_areas", objects.areas),
        ("box_features", objects.features),
        ("object_runs", objects.runs),
    ):
        assert (group[name][:] == values).all()
    assert set(group.array_keys()) == {path.name for path in (tmp_path / "a.zarr").iterdir()} - {"zarr.json"}


def test_one_chip_is_one_chunk(tmp_path):
    write_store(tmp_path / "a.zarr", make_spec(23), shard=10)
    images = zarr.open_group(tmp_path / "a.zarr", mode="r")["images"]
    assert images.chunks == (1, 3, 16, 24)
    assert images.shards == (10, 3, 16, 24)


@pytest.mark.parametrize("metadata_format", ["Classified_Tiles", "Panoptic_Segmentation", "Labeled_Tiles"])
def test_the_order_of_writing_leaves_no_trace(tmp_path, metadata_format):
    spec = make_spec(23, metadata_format=metadata_format)
    write_store(tmp_path / "a.zarr", spec, shard=5)
    write_store(tmp_path / "b.zarr", spec, shard=5, backwards=True)
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


@pytest.mark.parametrize("metadata_format", ["Classified_Tiles", "RCNN_Masks"])
def test_writing_again_over_what_a_killed_writer_left_gives_the_same_bytes(tmp_path, metadata_format):
    spec = make_spec(23, metadata_format=metadata_format)
    write_store(tmp_path / "a.zarr", spec, shard=5)
    writer = ChipWriter.create(tmp_path / "b.zarr", spec, shard=5)
    writer.write(5, make_block(spec, 5, 10, seed=7))
    (tmp_path / "b.zarr" / "images" / "c" / "0.123.partial").write_bytes(b"torn")
    write_store(tmp_path / "b.zarr", spec, shard=5)
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


def test_completing_again_changes_nothing(tmp_path):
    spec = make_spec(23, metadata_format="RCNN_Masks")
    blocks = write_store(tmp_path / "a.zarr", spec, shard=5)
    once = contents(tmp_path / "a.zarr")
    writer = ChipWriter.create(tmp_path / "a.zarr", spec, shard=5)
    writer.write(5, blocks[1])  # a run that was resumed may write some shards once more
    finish(writer, blocks)
    assert contents(tmp_path / "a.zarr") == once


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("cut", range(1, 11))
def test_a_completion_that_was_cut_off_anywhere_is_repeated(tmp_path, monkeypatch, cut):
    spec = make_spec(23, metadata_format="RCNN_Masks")
    write_store(tmp_path / "a.zarr", spec, shard=5)
    writer = ChipWriter.create(tmp_path / "b.zarr", spec, shard=5)
    blocks = [make_block(spec, start, min(start + 5, 23)) for start in range(0, 23, 5)]
    for start, block in zip(range(0, 23, 5), blocks, strict=True):
        writer.write(start, block)
    calls = []

    def remove(folder, **how):
        calls.append(folder)
        if len(calls) == cut:
            if folder.name == "_objects":  # half of it is gone
                next(folder.iterdir()).unlink()
            raise Killed
        shutil.rmtree(folder, **how)

    with monkeypatch.context() as patch:
        # before each of eight arrays is moved to its place, and at the two folders that then go
        patch.setattr("rasterloom.pipeline.store.gather.shutil", SimpleNamespace(rmtree=remove))
        with pytest.raises(Killed):
            finish(writer, blocks)
    finish(ChipWriter.create(tmp_path / "b.zarr", spec, shard=5), blocks)
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


def test_a_shard_that_was_never_written_is_missed(tmp_path):
    spec = make_spec(23, metadata_format="KITTI_rectangles")
    writer = ChipWriter.create(tmp_path / "a.zarr", spec, shard=5)
    writer.write(0, make_block(spec, 0, 5))
    with pytest.raises(StoreError, match=r"objects of 4 shards, the first from chip 5 on"):
        finish(writer, [make_block(spec, 0, 5)])


@pytest.mark.parametrize(
    ("metadata_format", "part", "what"),
    [
        ("Classified_Tiles", "masks", "masks"),
        ("COCO", "objects", "objects"),
        ("Imagenet", "labels", "labels"),
    ],
)
def test_chips_that_lack_a_part_of_their_format_are_refused(tmp_path, metadata_format, part, what):
    spec = make_spec(5, metadata_format=metadata_format)
    writer = ChipWriter.create(tmp_path / "a.zarr", spec)
    with pytest.raises(StoreError, match=f"{metadata_format} chips have {what}"):
        writer.write(0, replace(make_block(spec, 0, 5), **{part: None}))


def test_boxes_alone_are_refused_where_outlines_belong(tmp_path):
    boxes = make_block(make_spec(5, metadata_format="KITTI_rectangles"), 0, 5)
    writer = ChipWriter.create(tmp_path / "a.zarr", make_spec(5, metadata_format="RCNN_Masks"))
    with pytest.raises(StoreError, match="have outlines of the objects"):
        writer.write(0, boxes)


def test_parts_that_the_format_does_not_have_are_left_out(tmp_path):
    block = make_block(make_spec(5, metadata_format="Panoptic_Segmentation"), 0, 5)
    writer = ChipWriter.create(tmp_path / "a.zarr", make_spec(5, metadata_format="KITTI_rectangles"))
    writer.write(0, block)
    finish(writer, [block])
    assert not {"masks", "object_runs"} & {path.name for path in (tmp_path / "a.zarr").iterdir()}


@pytest.mark.parametrize(
    ("change", "message"), [({"mask_dtype": ""}, "mask_dtype"), ({"bands2": ("red",)}, "do not go together")]
)
def test_a_description_that_lacks_a_type_is_refused(tmp_path, change, message):
    with pytest.raises(StoreError, match=message):
        ChipWriter.create(tmp_path / "a.zarr", replace(make_spec(5), **change))


@pytest.mark.parametrize(("start", "stop"), [(3, 13), (0, 9), (10, 19)])
def test_parts_of_a_shard_are_refused(tmp_path, start, stop):
    spec = make_spec(25)
    writer = ChipWriter.create(tmp_path / "a.zarr", spec, shard=10)
    with pytest.raises(StoreError, match="not one shard of 10"):
        writer.write(start, make_block(spec, start, stop))


def test_another_process_opens_what_was_laid_out(tmp_path):
    writer = ChipWriter.create(tmp_path / "a.zarr", make_spec(25), shard=10)
    assert ChipWriter.open(tmp_path / "a.zarr") == writer


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        ChipWriter.create(tmp_path / "file" / "a.zarr", make_spec(3))


def test_a_full_disk_is_told_with_what_is_needed(tmp_path, monkeypatch):
    spec = make_spec(25)
    writer = ChipWriter.create(tmp_path / "a.zarr", spec, shard=10)

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zarr.storage._local._put", full)
    with pytest.raises(OutputError, match=r"No space left.*up to 0\.0 MB: make room"):
        writer.write(0, make_block(spec, 0, 10))
