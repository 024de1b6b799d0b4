import errno

import numpy as np
import pytest
import zarr

from rasterloom.models.errors import OutputError, StoreError
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.stores import make_block, make_spec, write_store


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
    }
    assert (group["images"][:] == np.concatenate([b.images for b in blocks])).all()
    assert (group["masks"][:] == np.concatenate([b.masks for b in blocks])).all()
    assert (group["transform"][:] == np.concatenate([b.transforms for b in blocks])).all()
    assert group.attrs["format_version"] == 1


def test_one_chip_is_one_chunk(tmp_path):
    write_store(tmp_path / "a.zarr", make_spec(23), shard=10)
    images = zarr.open_group(tmp_path / "a.zarr", mode="r")["images"]
    assert images.chunks == (1, 3, 16, 24)
    assert images.shards == (10, 3, 16, 24)


def test_the_order_of_writing_leaves_no_trace(tmp_path):
    write_store(tmp_path / "a.zarr", make_spec(23), shard=5)
    write_store(tmp_path / "b.zarr", make_spec(23), shard=5, backwards=True)
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


def test_writing_again_over_what_a_killed_writer_left_gives_the_same_bytes(tmp_path):
    write_store(tmp_path / "a.zarr", make_spec(23), shard=5)
    spec = make_spec(23)
    writer = ChipWriter.create(tmp_path / "b.zarr", spec, shard=5)
    writer.write(5, make_block(spec, 5, 10, seed=7))
    (tmp_path / "b.zarr" / "images" / "c" / "0.123.partial").write_bytes(b"torn")
    write_store(tmp_path / "b.zarr", spec, shard=5)
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


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
