"""The arrays of a chip store, as Zarr is told to make them."""

from typing import Any

import numpy as np
from zarr.codecs import BloscCodec, ZstdCodec

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.store.layout import CHIP_ARRAYS, OBJECT_ARRAYS, StoreSpec

ROW_CHUNK = 1024
"""Rows of a flat array that are read together: the objects of a chip stand in one or two chunks."""
ROW_SHARD = 65_536
"""Rows of a flat array in one file."""


def check_types(spec: StoreSpec) -> None:
    """Refuse a description that lacks the type of a part that chips of its format have."""
    if spec.kind.masks and not spec.mask_dtype:
        raise StoreError(f"{spec.metadata_format} chips have masks: mask_dtype must be uint8 or uint16.")
    if bool(spec.bands2) != bool(spec.dtype2):
        raise StoreError(
            f"bands2={spec.bands2} and dtype2={spec.dtype2!r} do not go together: give both or none."
        )


def chip_arrays(spec: StoreSpec, shard: int) -> dict[str, dict[str, Any]]:
    """Arguments of ``create_array`` for every array that begins with the chip."""
    height, width = spec.tile
    pixels = ("row", "column")
    arrays = {
        "images": _pixel_array(spec, shard, (len(spec.bands), height, width), spec.dtype, ("band", *pixels))
    }
    if spec.kind.masks:
        arrays["masks"] = _pixel_array(spec, shard, (height, width), spec.mask_dtype, pixels)
    if spec.bands2:
        shape = (len(spec.bands2), height, width)
        arrays["images2"] = _pixel_array(spec, shard, shape, spec.dtype2, ("band", *pixels))
    for name, (tail, dtype, names) in CHIP_ARRAYS.items():
        arrays[name] = _chip_array(spec, shard, tail, dtype, names)
    if spec.kind.several_labels:
        arrays["chip_labels"] = _chip_array(spec, shard, (len(spec.classes),), "uint8", ("class",))
    elif spec.kind.labels:
        arrays["chip_labels"] = _chip_array(spec, shard, (), "int32", ())
    return arrays


def object_arrays(chips: int, objects: int, runs: int | None) -> dict[str, dict[str, Any]]:
    """Arguments of ``create_array`` for every array of the objects; without outlines, ``runs`` is None."""
    arrays = {"box_offsets": _flat_array(chips + 1, (), "int64", ("edge",))}
    for name, (tail, dtype, names) in OBJECT_ARRAYS.items():
        arrays[name] = _flat_array(objects, tail, dtype, ("object", *names))
    if runs is not None:
        arrays["run_offsets"] = _flat_array(objects + 1, (), "int64", ("edge",))
        arrays["object_runs"] = _flat_array(runs, (2,), "int32", ("run", "side"))
    return arrays


def _pixel_array(
    spec: StoreSpec, shard: int, chip: tuple[int, ...], dtype: str, names: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "shape": (spec.chips, *chip),
        "chunks": (1, *chip),
        "shards": (shard, *chip),
        "dtype": dtype,
        "fill_value": 0,
        "compressors": [_codec(dtype)],
        "dimension_names": ("chip", *names),
    }


def _chip_array(
    spec: StoreSpec, shard: int, tail: tuple[int, ...], dtype: str, names: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "shape": (spec.chips, *tail),
        "chunks": (shard, *tail),
        "dtype": dtype,
        "fill_value": 0,
        "compressors": [ZstdCodec(level=1, checksum=True)],
        "dimension_names": ("chip", *names),
    }


def _flat_array(rows: int, tail: tuple[int, ...], dtype: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        "shape": (rows, *tail),
        "chunks": (ROW_CHUNK, *tail),
        "shards": (ROW_SHARD, *tail),
        "dtype": dtype,
        "fill_value": 0,
        "compressors": [_codec(dtype)],
        "dimension_names": names,
    }


def _codec(dtype: str) -> Any:
    # measured: plain zstd is the fastest for bytes; wider types halve in size with their bits sorted first
    size = np.dtype(dtype).itemsize
    if size > 1:
        return BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=size)
    return ZstdCodec(level=1, checksum=True)
