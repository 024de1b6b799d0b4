"""Append chips to chips that are there: what must agree, and the shards that need no writing again."""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.store.chips import ChipBlock, ChipReader
from rasterloom.pipeline.store.layout import StoreSpec

_AGREE = ("metadata_format", "tile", "bands", "dtype", "bands2", "dtype2")


def check_append(base: StoreSpec, new: StoreSpec) -> None:
    """Refuse chips that cannot stand behind those that are there.

    Raises
    ------
    StoreError
        Names the first thing that differs.
    """
    for what in _AGREE:
        ours, theirs = getattr(base, what), getattr(new, what)
        if ours != theirs:
            raise StoreError(
                f"the chips that are there have {what} {_plain(ours)}, and the new ones {_plain(theirs)}: "
                "append chips that agree, or write them to another place."
            )
    merged_classes(base.classes, new.classes)
    merged_classes(base.instance_classes, new.instance_classes)


def merged_classes(base: Sequence[ClassInfo], new: Sequence[ClassInfo]) -> tuple[ClassInfo, ...]:
    """The classes of both in ascending value; where both have one, the first's colour.

    Raises
    ------
    StoreError
        If one value has two names, or one name two values.
    """
    names = {c.value: c.name for c in base}
    values = {c.name: c.value for c in base}
    for c in new:
        if names.get(c.value, c.name) != c.name:
            raise StoreError(
                f"class {c.value} is {names[c.value]!r} in the chips that are there and {c.name!r} in the "
                "new ones: give both the same class field."
            )
        if values.get(c.name, c.value) != c.value:
            raise StoreError(
                f"class {c.name!r} has value {values[c.name]} in the chips that are there and {c.value} in "
                "the new ones: give both the same class field."
            )
    both = {c.value: c for c in (*new, *base)}
    return tuple(both[value] for value in sorted(both))


def merged_spec(base: StoreSpec, new: StoreSpec) -> StoreSpec:
    """The description of chips with new ones behind them.

    The sources of the new chips stand behind those that are there, except those that are there already:
    :func:`source_positions` tells where each went.

    Parameters
    ----------
    new
        Of the new chips alone.

    Raises
    ------
    StoreError
        If the chips do not agree.
    """
    check_append(base, new)
    places = dict.fromkeys([*_places(base), *_places(new)])
    crs = tuple(crs for _, crs in places)
    return replace(
        base,
        chips=base.chips + new.chips,
        classes=merged_classes(base.classes, new.classes),
        instance_classes=merged_classes(base.instance_classes, new.instance_classes),
        sources=tuple(name for name, _ in places),
        source_crs=crs if set(crs) != {base.crs} else (),
        mask_dtype=max(base.mask_dtype, new.mask_dtype, key=_width),
        parameters={**base.parameters, **new.parameters},
    )


def source_positions(spec: StoreSpec, merged: StoreSpec) -> np.ndarray:
    """Where each source of ``spec`` stands among those of ``merged``, (sources,) int32."""
    places = _places(merged)
    return np.array([places.index(place) for place in _places(spec)], np.int32)


def carried(base: ChipReader, indices: Any, spec: StoreSpec) -> ChipBlock:
    """Chips that are there, as they stand among the chips of ``spec``, which were merged from theirs."""
    block = base.block(indices)
    values: dict[str, Any] = {"source": source_positions(base.spec, spec)[block.source]}
    if spec.kind.several_labels and block.labels is not None:
        columns = [c.value for c in spec.classes]
        labels = np.zeros((len(block), len(columns)), np.uint8)
        labels[:, [columns.index(c.value) for c in base.spec.classes]] = block.labels
        values["labels"] = labels
    return replace(block, **values)


def link_shards(base: Path, store: Path, names: Iterable[str], *, shard: int, chips: int) -> int:
    """Bring the whole shards of a store into one that is laid out for them and more, without decoding.

    Parameters
    ----------
    base
        Folder of the finished store.
    store
        Folder of the new store; its arrays are laid out.
    names
        Arrays that begin with the chip.
    shard
        Chips of a shard of the new store.
    chips
        Chips of ``base``.

    Returns
    -------
    int
        Chips that need not be written again: 0 where the arrays are laid out differently.
    """
    names = tuple(names)
    if any(_layout(base / name) != _layout(store / name) for name in names):
        return 0
    for name in names:
        deeper = len(_layout(store / name)["shape"]) - 1
        for number in range(chips // shard):
            file = Path(name, "c", str(number), *("0" for _ in range(deeper)))
            # a shard of zeros has no file
            if (base / file).exists():
                _link(base / file, store / file)
    return chips // shard * shard


def _plain(value: Any) -> str:
    return (
        ", ".join(str(part) for part in value) or "none" if isinstance(value, tuple) else str(value or "none")
    )


def _width(dtype: str) -> int:
    return np.dtype(dtype).itemsize if dtype else 0


def _places(spec: StoreSpec) -> list[tuple[str, str]]:
    """Name and CRS of each source."""
    return list(zip(spec.sources, spec.source_crs or (spec.crs,) * len(spec.sources), strict=True))


def _layout(array: Path) -> dict[str, Any]:
    """An array's description apart from the number of chips; empty where there is none."""
    try:
        plain = json.loads((array / "zarr.json").read_text("utf-8"))
    except FileNotFoundError:
        return {}
    plain["shape"][0] = None
    return dict(plain)


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        partial = target.with_name(f"{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)
