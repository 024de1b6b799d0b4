import json

import numpy as np
import pytest
import zarr
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.store.shards import ShardedArray
from tests.support.stores import make_spec, write_store


@pytest.fixture(scope="module", params=["uint8", "uint16", "float32", "int16"])
def store(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / f"{request.param}.zarr"
    write_store(path, make_spec(23, dtype=request.param), shard=10)
    return path


@settings(max_examples=20, deadline=None)
@given(chips=st.lists(st.integers(0, 22), max_size=12))
def test_chips_are_what_zarr_reads(store, chips):
    for name in ("images", "masks"):
        direct = ShardedArray.open(store / name)
        assert direct is not None
        whole = zarr.open_group(store, mode="r")[name][:]
        read = direct.read(chips)
        assert read.dtype == whole.dtype
        assert (read == whole[np.array(chips, int)]).all()


def test_a_shard_that_was_never_written_is_zero(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, make_spec(23), shard=10)
    (path / "images" / "c" / "1" / "0" / "0" / "0").unlink()
    direct = ShardedArray.open(path / "images")
    assert not direct.read([10, 19]).any()
    assert direct.read([9, 21]).any()


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_shard_is_named(tmp_path, keep):
    path = tmp_path / "a.zarr"
    write_store(path, make_spec(23), shard=10)
    file = path / "images" / "c" / "0" / "0" / "0" / "0"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(StoreError, match="c/0/0/0/0 is damaged"):
        ShardedArray.open(path / "images").read([1])


def test_changed_bytes_of_a_chip_are_noticed(tmp_path):
    path = tmp_path / "a.zarr"
    write_store(path, make_spec(23), shard=10)
    file = path / "images" / "c" / "0" / "0" / "0" / "0"
    damaged = bytearray(file.read_bytes())
    damaged[200] ^= 255
    file.write_bytes(bytes(damaged))
    with pytest.raises(StoreError, match="is damaged"):
        ShardedArray.open(path / "images").read([0])


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["codecs"].insert(
            0, {"name": "transpose", "configuration": {"order": [0, 1, 2, 3]}}
        ),
        lambda plain: plain["codecs"][0]["configuration"].update(index_location="start"),
        lambda plain: plain["codecs"][0]["configuration"]["codecs"][-1].update(name="gzip"),
        lambda plain: plain.update(fill_value=1),
    ],
)
def test_any_other_layout_is_left_to_zarr(tmp_path, change):
    write_store(tmp_path / "a.zarr", make_spec(5))
    file = tmp_path / "a.zarr" / "images" / "zarr.json"
    plain = json.loads(file.read_text())
    change(plain)
    file.write_text(json.dumps(plain))
    assert ShardedArray.open(tmp_path / "a.zarr" / "images") is None
