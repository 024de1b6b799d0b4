"""Which chips are cut from which raster: decided before any image is read."""

import hashlib
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.chips.places import corners, outlines
from rasterloom.pipeline.chips.scan import Scan, centred, inside, look_through, overlapped
from rasterloom.pipeline.chips.sources import ChipSource
from rasterloom.pipeline.chips.splits import Split, on_lattice, split_chips
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.labels.prepared import iter_prepared
from rasterloom.pipeline.store.layout import SPLITS

_BLOCK = 65_536
"""Chips that are looked at at once."""


@dataclass(frozen=True)
class Cutting:
    """How chips are cut, the same for all of them."""

    metadata_format: str
    tile: tuple[int, int]
    """Height and width of a chip in pixels."""
    stride: tuple[int, int]
    """Rows and columns from one chip to the next."""
    angle: float = 0.0
    """Degrees from one turned chip to the next; 0 turns none."""
    min_share: float = 0.0
    """Least part of a feature's area that must lie in a chip."""
    centred: bool = False
    """Whether chips are centred on features."""
    fixed_size: bool = True
    blacken: bool = False

    @property
    def turns(self) -> int:
        """Chips that are cut at one place, the unturned one included."""
        # a third of a turn, given as 120.0000001, is still a third
        return math.ceil(360 / self.angle - 1e-6) if self.angle else 1


@dataclass(frozen=True, eq=False)
class ChipPlan:
    """The chips of some sources."""

    sources: tuple[ChipSource, ...]
    cutting: Cutting
    chips: np.ndarray
    """Table of ``CHIP``, in ascending number."""
    classes: tuple[ClassInfo, ...]
    """Of masks, labels and, where there are no instances, objects; in ascending value."""
    instance_classes: tuple[ClassInfo, ...]
    start_index: int
    """Number of the first place of the scan."""
    split: Split | None = None
    left_out: int = 0
    """Chips that lie in several parts of the split, or touch another."""

    def __len__(self) -> int:
        return len(self.chips)

    @cached_property
    def id(self) -> str:
        """SHA-256 of everything that the chips depend on."""
        parts = {
            "version": 2,
            "sources": [source.identity for source in self.sources],
            "cutting": repr(self.cutting),
            "classes": repr((self.classes, self.instance_classes)),
            "split": repr(self.split),
            "chips": hashlib.sha256(np.ascontiguousarray(self.chips).tobytes()).hexdigest(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def plan_chips(
    sources: Sequence[ChipSource],
    cutting: Cutting,
    *,
    all_tiles: bool = False,
    start_index: int = 0,
    split: Split | None = None,
) -> ChipPlan:
    """Choose the chips of all sources, in row-major order from the upper left of each.

    A chip's number is the position of its place in the whole scan, chips that are left out included, times
    the number of turns, plus its turn.

    Parameters
    ----------
    sources
        At least one. Without any labels, every chip is wanted.
    all_tiles
        Also keep chips that show no label.
    start_index
        Number of the first place, 0 or more.
    split
        Gives blocks of ground to training, validation and test.

    Raises
    ------
    SettingError
        If a size is below 1.
    LabelError
        If no chip is left.

    References
    ----------
    "Formats", 1.5: tile_size, stride_size, export_all_tiles, input_mask_polygons, rotation_angle.
    """
    if min(*cutting.tile, *cutting.stride) < 1 or start_index < 0:
        raise SettingError(
            f"tile {cutting.tile}, stride {cutting.stride} and start index {start_index} cannot work: "
            "use 1 or more pixels, and an index of 0 or more."
        )
    labelled = any(source.is_labelled for source in sources)
    parts, places, values = [], 0, np.zeros(0, np.int64)
    for number, source in enumerate(sources):
        chips, count, seen = _of_source(source, cutting, everything=all_tiles or not labelled)
        values = np.union1d(values, seen)
        chips["source"] = number
        chips["number"] += places
        parts.append(chips)
        places += count
    chips = _turned(np.concatenate(parts), sources, cutting)
    chips["number"] += start_index
    chips, left_out = _split(chips, sources, cutting, split)
    if not len(chips):
        raise LabelError(_nothing_left(sources, left_out))
    return ChipPlan(
        sources=tuple(sources),
        cutting=cutting,
        chips=chips,
        classes=_classes(sources, values),
        instance_classes=_instance_classes(sources),
        start_index=start_index,
        split=split,
        left_out=left_out,
    )


def _of_source(
    source: ChipSource, cutting: Cutting, *, everything: bool
) -> tuple[np.ndarray, int, np.ndarray]:
    """Unturned chips of one source, the places that were looked at, and the values of its class raster."""
    grid, values = source.raster.grid, np.zeros(0, np.int64)
    if cutting.centred:
        chips = centred(
            () if source.features is None else iter_prepared(source.features.path),
            grid,
            source.area,
            cutting.tile,
            fixed=cutting.fixed_size,
            min_share=cutting.min_share,
        )
        count = len(chips)
        if source.mask is not None:
            shapely.prepare(source.mask)
            chips = chips[shapely.covers(source.mask, outlines(chips, grid))]
        return chips, count, values
    scan = Scan.of(source.area, cutting.tile, cutting.stride)
    wanted = np.full(len(scan), everything)
    if source.class_map is not None:
        shown, values = look_through(scan, source.class_map)
        wanted |= shown
    if source.instance_map is not None and not everything:
        wanted |= look_through(scan, source.instance_map)[0]
    for features in (source.features, source.instances):
        if features is not None and not everything:
            wanted |= overlapped(scan, grid, iter_prepared(features.path), min_share=cutting.min_share)
    if source.mask is not None:
        wanted &= inside(scan, grid, source.mask)
    positions = np.flatnonzero(wanted)
    chips = scan.chips(positions)
    chips["number"] = positions
    return chips, len(scan), values


def _turned(chips: np.ndarray, sources: Sequence[ChipSource], cutting: Cutting) -> np.ndarray:
    """Each chip and its turned ones; of these only those that lie inside the mask."""
    if cutting.turns == 1:
        return chips
    several = np.repeat(chips, cutting.turns)
    several["turn"] = np.tile(np.arange(cutting.turns), len(chips))
    several["number"] = several["number"] * cutting.turns + several["turn"]
    kept = np.ones(len(several), bool)
    for number, source in enumerate(sources):
        if source.mask is None:
            continue
        shapely.prepare(source.mask)
        own = np.flatnonzero((several["source"] == number) & (several["turn"] > 0))
        for start in range(0, len(own), _BLOCK):
            some = own[start : start + _BLOCK]
            kept[some] = shapely.covers(
                source.mask, outlines(several[some], source.raster.grid, cutting.angle)
            )
    return several[kept]


def _split(
    chips: np.ndarray, sources: Sequence[ChipSource], cutting: Cutting, split: Split | None
) -> tuple[np.ndarray, int]:
    if split is None or not len(chips):
        return chips, 0
    lattice = sources[0].raster.grid
    places = np.empty((len(chips), 4, 2))
    for number, source in enumerate(sources):
        own = chips["source"] == number
        grid = source.raster.grid
        places[own] = on_lattice(corners(chips[own], grid, cutting.angle), grid, lattice)
    chips = chips.copy()
    chips["split"] = split_chips(places, split)
    kept = chips["split"] > 0
    if kept.any():
        _warn_of_empty_parts(np.bincount(chips["split"], minlength=len(SPLITS)), split)
    return chips[kept], int((~kept).sum())


def _warn_of_empty_parts(counts: np.ndarray, split: Split) -> None:
    wanted = zip(SPLITS[1:], split.shares, counts[1:].tolist(), strict=True)
    empty = [name for name, share, count in wanted if share > 0 and count == 0]
    if empty:
        warnings.warn(
            f"the split gives no chip to {' and '.join(empty)}: there are too few blocks of {split.block} "
            "pixels. Use a smaller split_block_size.",
            stacklevel=2,
        )


def _classes(sources: Sequence[ChipSource], values: np.ndarray) -> tuple[ClassInfo, ...]:
    for source in sources:
        if source.features is not None:
            return tuple(source.features.classes)
    return tuple(ClassInfo(v, str(v), default_color(i)) for i, v in enumerate(values.tolist()))


def _instance_classes(sources: Sequence[ChipSource]) -> tuple[ClassInfo, ...]:
    for source in sources:
        if source.instances is not None:
            return tuple(source.instances.classes)
    if any(source.instance_map is not None for source in sources):
        return (ClassInfo(1, "1", default_color(0)),)
    return ()


def _nothing_left(sources: Sequence[ChipSource], left_out: int) -> str:
    name = sources[0].raster.name if len(sources) == 1 else f"the {len(sources)} rasters"
    if left_out:
        return (
            f"all {left_out} chips of {name} reach into several parts of the split: use a larger "
            "split_block_size, or smaller chips."
        )
    inside = " completely inside the mask polygons" if any(s.mask is not None for s in sources) else ""
    return (
        f"no chip of {name}{inside} overlaps a feature: use smaller chips, a wider extent, "
        'or context={"exportAllTiles": True} for chips without labels.'
    )
