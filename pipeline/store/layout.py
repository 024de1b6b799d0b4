"""What a chip store holds, and how that is written down (format version 1).

A Zarr v3 group. Of every chip::

    images        (chip, band, row, column)  one chunk for each chip, gathered into shards
    transform     (chip, 6)                  affine a, b, c, d, e, f of each chip
    window        (chip, 4)                  row, column, height, width on the source's grid
    source        (chip,)                    position in the list of sources
    rotation      (chip,)                    degrees, counter-clockwise
    split         (chip,)                    0 none, 1 train, 2 val, 3 test
    number        (chip,)                    number in the scan
    size          (chip, 2)                  height and width of what the chip holds; 0, 0 = all of it

Where the metadata format has them::

    masks         (chip, row, column)        as images; class value of each pixel, 0 = no class
    images2       (chip, band, row, column)  as images; the second raster's
    chip_labels   (chip,) or (chip, class)   class value, or whether each class occurs
    box_offsets   (chip + 1,)                objects ``box_offsets[i]`` to ``box_offsets[i + 1]`` are chip i's
    boxes         (object, 4)                xmin, ymin, xmax, ymax in pixels
    box_labels    (object,)                  class value
    box_shares    (object,)                  part of the object that lies in the chip
    box_areas     (object,)                  area inside the chip, in squared units of the CRS
    box_features  (object,)                  position in the layer, -1 = none
    run_offsets   (object + 1,)              runs ``run_offsets[j]`` to ``run_offsets[j + 1]`` are object j's
    object_runs   (run, 2)                   first and one past the last pixel, along the rows of the chip

Runs and not a map of object numbers: objects overlap, and a map would have to choose. The group's
attributes hold the rest: see :class:`StoreSpec`. One writer owns whole shards. Stores that were written
before a part was added are read as if it had its default.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo, Task, classes_from_json
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.kinds import Kind, kind_of

FORMAT = "rasterloom-chips"
FORMAT_VERSION = 1

SHARD_CHIPS = 256
"""Most chips of a shard."""
SHARD_BYTES = 128 * 2**20
"""Most bytes of a shard's pixels before compression: a task holds one shard in memory."""

SPLITS = ("", "train", "val", "test")
"""What the codes of ``split`` mean."""

CHIP_ARRAYS: Mapping[str, tuple[tuple[int, ...], str, tuple[str, ...]]] = {
    "transform": ((6,), "float64", ("coefficient",)),
    "window": ((4,), "int64", ("side",)),
    "source": ((), "int32", ()),
    "rotation": ((), "float32", ()),
    "split": ((), "uint8", ()),
    "number": ((), "int64", ()),
    "size": ((2,), "int32", ("side",)),
}
"""Shape behind the chip, type and dimension names of the small arrays that every chip has."""

OBJECT_ARRAYS: Mapping[str, tuple[tuple[int, ...], str, tuple[str, ...]]] = {
    "boxes": ((4,), "float32", ("side",)),
    "box_labels": ((), "int32", ()),
    "box_shares": ((), "float32", ()),
    "box_areas": ((), "float64", ()),
    "box_features": ((), "int64", ()),
}
"""The same of the arrays behind the object."""


@dataclass(frozen=True)
class StoreSpec:
    """Everything about a chip store except its pixels."""

    task: Task
    chips: int
    """Number of chips."""
    bands: tuple[str, ...]
    """Band names, in the order of the images."""
    dtype: str
    """NumPy name of the image type."""
    nodata: float | None
    """The source's nodata value; such pixels are 0 in the images. None where there is none."""
    crs: str
    """Well-known text."""
    cell_size: tuple[float, float]
    """Pixel width and height in units of the CRS."""
    tile: tuple[int, int]
    """Height and width of a chip in pixels."""
    stride: tuple[int, int]
    """Rows and columns from one chip to the next."""
    classes: tuple[ClassInfo, ...]
    """In ascending value."""
    sources: tuple[str, ...]
    """Names of the rasters that the chips were cut from."""
    mask_dtype: str
    """``uint8``, or ``uint16`` where a class value is above 255; empty where there are no masks."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The settings that made the store, JSON-able."""
    metadata_format: str = "Classified_Tiles"
    """Name of the format; see :mod:`rasterloom.pipeline.store.kinds` for what such chips hold."""
    bands2: tuple[str, ...] = ()
    """Band names of the second images; empty where there are none."""
    dtype2: str = ""
    """NumPy name of the second images' type."""
    instance_classes: tuple[ClassInfo, ...] = ()
    """Classes of the objects of Panoptic_Segmentation; other formats' objects are of ``classes``."""
    source_crs: tuple[str, ...] = ()
    """Well-known text for each source; empty where all are in ``crs``."""

    @property
    def kind(self) -> Kind:
        """Which parts the chips have."""
        return kind_of(self.metadata_format)

    @property
    def object_classes(self) -> tuple[ClassInfo, ...]:
        """The classes of the objects."""
        return self.instance_classes or self.classes

    @property
    def chip_bytes(self) -> int:
        """Bytes of one chip's images and mask before compression."""
        images = len(self.bands) * np.dtype(self.dtype).itemsize
        if self.bands2:
            images += len(self.bands2) * np.dtype(self.dtype2).itemsize
        mask = np.dtype(self.mask_dtype).itemsize if self.kind.masks else 0
        return self.tile[0] * self.tile[1] * (images + mask)

    @property
    def shard(self) -> int:
        """Chips of a shard: at most 256, and no more than fit in 128 MiB."""
        return max(1, min(SHARD_CHIPS, self.chips, SHARD_BYTES // self.chip_bytes))

    def to_json(self) -> dict[str, Any]:
        """The group's attributes, JSON-able, that :meth:`from_json` reads back."""
        plain = asdict(self)
        plain["task"] = str(self.task)
        plain["parameters"] = dict(self.parameters)
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **plain}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "StoreSpec":
        """The value that :meth:`to_json` wrote.

        Raises
        ------
        StoreError
            If the attributes are no chip store's, or of a format version that is not known here.
        """
        check_format(plain)
        try:
            return cls(
                task=Task(plain["task"]),
                chips=int(plain["chips"]),
                bands=tuple(str(name) for name in plain["bands"]),
                dtype=str(plain["dtype"]),
                nodata=None if plain["nodata"] is None else float(plain["nodata"]),
                crs=str(plain["crs"]),
                cell_size=(float(plain["cell_size"][0]), float(plain["cell_size"][1])),
                tile=(int(plain["tile"][0]), int(plain["tile"][1])),
                stride=(int(plain["stride"][0]), int(plain["stride"][1])),
                classes=classes_from_json(plain["classes"]),
                sources=tuple(str(name) for name in plain["sources"]),
                mask_dtype=str(plain["mask_dtype"]),
                parameters=dict(plain["parameters"]),
                metadata_format=str(plain.get("metadata_format", "Classified_Tiles")),
                bands2=tuple(str(name) for name in plain.get("bands2", ())),
                dtype2=str(plain.get("dtype2", "")),
                instance_classes=classes_from_json(plain.get("instance_classes", ())),
                source_crs=tuple(str(crs) for crs in plain.get("source_crs", ())),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise StoreError(
                f"the store's attributes are damaged ({error!r}): export the chips again."
            ) from error


def check_format(plain: Mapping[str, Any]) -> None:
    """Refuse attributes that are not a chip store's of a known format version."""
    if plain.get("format") != FORMAT:
        raise StoreError(
            "this is not a chip store: its attributes lack the format name. "
            "Make one with export_training_data."
        )
    version = plain.get("format_version")
    if not isinstance(version, int) or version < 1 or version > FORMAT_VERSION:
        raise StoreError(
            f"the store has format version {version}, and this rasterloom reads up to {FORMAT_VERSION}: "
            "upgrade rasterloom, or export the chips again."
        )


def stats_to_json(stats: BandStats) -> dict[str, Any]:
    """Statistics as JSON; the range of no pixels is null, because JSON has no infinity."""
    plain = stats.to_json()
    if stats.count == 0:
        plain["minimum"] = plain["maximum"] = [None] * len(stats.mean)
    return {**plain, "std": list(stats.std)}


def stats_from_json(plain: Mapping[str, Any]) -> BandStats:
    """The value that :func:`stats_to_json` wrote."""
    if plain["count"] == 0:
        return BandStats.empty(len(plain["mean"]))
    return BandStats.from_json(plain)
