"""Read single chips, or rows of flat arrays, out of Zarr shards on a local disk.

zarr-python takes 10 to 30 ms for a chip of a shard, most of it in its event loop; a chip's own bytes
decode in 0.2 ms. What is read here is the plain Zarr v3 sharding layout, which the tests check against
zarr-python.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import blosc, zstd

from rasterloom.models.errors import StoreError

_ABSENT = np.uint64(2**64 - 1)
"""Offset of a chunk that holds only the fill value (Zarr v3 sharding codec)."""

_DECODERS = {"zstd": zstd.decompress, "blosc": blosc.decompress}


@dataclass(frozen=True)
class ShardedArray:
    """One array of a local store, read chunk by chunk: a chunk is a chip, or the same number of rows."""

    path: Path
    """Folder of the array."""
    shape: tuple[int, ...]
    dtype: np.dtype
    rows: int
    """Rows of a chunk: 1 where a chunk is a chip."""
    shard: int
    """Chunks of a shard."""
    codec: str
    """``zstd`` or ``blosc``."""
    indexes: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """(chunk, 2) offset and length of each chunk of the shards read so far, uint64."""

    @classmethod
    def open(cls, path: Path) -> "ShardedArray | None":
        """The array at a folder, or None where its layout is not the one that is written here."""
        try:
            plain = json.loads((path / "zarr.json").read_text("utf-8"))
            return cls._of(path, plain)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    @classmethod
    def _of(cls, path: Path, plain: dict[str, Any]) -> "ShardedArray | None":
        (sharding,) = plain["codecs"]
        inner = sharding["configuration"]
        codec = inner["codecs"][-1]["name"]
        shape = tuple(plain["shape"])
        dtype = np.dtype(plain["data_type"])
        expected = (
            sharding["name"] == "sharding_indexed"
            and inner.get("index_location", "end") == "end"
            and [c["name"] for c in inner["index_codecs"]] == ["bytes", "crc32c"]
            and [c["name"] for c in inner["codecs"]] == ["bytes", codec]
            and inner["codecs"][0].get("configuration", {}).get("endian", "little") == "little"
            and codec in _DECODERS
            and tuple(inner["chunk_shape"][1:]) == shape[1:]
            and plain["fill_value"] == 0
            and plain["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
        )
        shard = tuple(plain["chunk_grid"]["configuration"]["chunk_shape"])
        if not expected or shard[1:] != shape[1:]:
            return None
        rows = int(inner["chunk_shape"][0])
        return cls(path, shape, dtype.newbyteorder("<"), rows, int(shard[0]) // rows, codec)

    def read(self, chips: Sequence[int] | np.ndarray) -> np.ndarray:
        """Chips in the order asked for, (n, ...); of an array whose chunks are single chips.

        Raises
        ------
        StoreError
            If a shard is damaged.
        """
        assert self.rows == 1
        return self._read(np.asarray(chips, np.int64), self.shape[1:])

    def read_rows(self, rows: np.ndarray) -> np.ndarray:
        """Rows by their positions, in the order asked for, (n, ...). Every chunk is read once.

        Raises
        ------
        StoreError
            If a shard is damaged.
        """
        chunks, place = np.unique(rows // self.rows, return_inverse=True)
        found = self._read(chunks, (self.rows, *self.shape[1:]))
        return found[place, rows % self.rows]

    def _read(self, chunks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        out = np.empty((len(chunks), *shape), self.dtype)
        for shard in np.unique(chunks // self.shard).tolist():
            places = np.flatnonzero(chunks // self.shard == shard)
            self._read_shard(shard, places, chunks[places] - shard * self.shard, out)
        return out

    def _read_shard(self, shard: int, places: np.ndarray, chunks: np.ndarray, out: np.ndarray) -> None:
        file = self.path / "c" / "/".join([str(shard), *("0" for _ in self.shape[1:])])
        try:
            handle = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            # Zarr: a shard that is not there holds the fill value
            out[places] = 0
            return
        decode = _DECODERS[self.codec]
        try:
            index = self._index(shard, handle)
            for place, chunk in zip(places.tolist(), chunks.tolist(), strict=True):
                offset, length = index[chunk]
                if offset == _ABSENT:
                    out[place] = 0
                else:
                    decode(os.pread(handle, int(length), int(offset)), out[place])
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(f"{file} is damaged ({error}): export the chips again.") from error
        finally:
            os.close(handle)

    def _index(self, shard: int, handle: int) -> np.ndarray:
        if shard not in self.indexes:
            size = os.fstat(handle).st_size
            # the index stands at the end, followed by its checksum of 4 bytes
            body = size - 16 * self.shard - 4
            if body < 0:
                raise ValueError("it is too short")
            index = np.frombuffer(os.pread(handle, 16 * self.shard, body), "<u8").reshape(-1, 2)
            present = index[index[:, 0] != _ABSENT]
            if (present > body).any() or (present.sum(axis=1) > body).any():
                raise ValueError("its index points beyond it")
            self.indexes[shard] = index
        return self.indexes[shard]
