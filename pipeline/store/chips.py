"""What chips are in memory: the values that pass between cutting, stores, folders and data sets."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.labels.objects import Objects


@dataclass(frozen=True, eq=False, kw_only=True)
class ChipBlock:
    """Consecutive chips with everything that is known of them. All arrays begin with the chip, (n, ...)."""

    images: np.ndarray
    """(n, C, H, W)"""
    transforms: np.ndarray
    """(n, 6): affine coefficients a, b, c, d, e, f."""
    windows: np.ndarray
    """(n, 4): row, column, height, width on the source's grid; of a turned chip, before it was turned."""
    source: np.ndarray
    """(n,): position in the list of sources."""
    rotation: np.ndarray
    """(n,): degrees, counter-clockwise."""
    split: np.ndarray
    """(n,): positions in ``SPLITS``."""
    numbers: np.ndarray
    """(n,) int64: number in the scan, ascending; those of chips that were left out are missing."""
    masks: np.ndarray | None = None
    """(n, H, W): class value of each pixel, 0 = no class."""
    images2: np.ndarray | None = None
    """(n, C2, H, W): the same ground in the second raster."""
    objects: Objects | None = None
    labels: np.ndarray | None = None
    """(n,) int64 class value of each chip, or (n, K) uint8: whether each of the K classes occurs in it."""
    sizes: np.ndarray | None = None
    """(n, 2): height and width of what a chip really holds, from its upper-left corner; None: all of it."""

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def joined(cls, parts: "Sequence[ChipBlock]") -> "ChipBlock":
        """The chips of all parts, in their order. All parts, at least one, hold the same kinds of things."""
        first = parts[0]
        if len(parts) == 1:
            return first
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ALWAYS}
        for name in _SOMETIMES:
            if getattr(first, name) is not None:
                arrays[name] = np.concatenate([getattr(part, name) for part in parts])
        if any(part.sizes is not None for part in parts):
            arrays["sizes"] = np.concatenate([part.known_sizes for part in parts])
        objects = [part.objects for part in parts if part.objects is not None]
        return cls(**arrays, objects=Objects.joined(objects) if objects else None)

    def of(self, indices: Sequence[int] | np.ndarray) -> "ChipBlock":
        """Some of the chips by their positions in the block, in the order asked for, with repeats."""
        chosen = np.asarray(indices, np.int64).reshape(-1)
        arrays = {
            name: part[chosen]
            for name in (*_ALWAYS, *_SOMETIMES, "sizes")
            if (part := getattr(self, name)) is not None
        }
        return ChipBlock(**arrays, objects=None if self.objects is None else self.objects.of(chosen))

    @property
    def known_sizes(self) -> np.ndarray:
        """``sizes``, also where all chips are whole."""
        if self.sizes is not None:
            return self.sizes
        return np.tile(np.array(self.images.shape[2:], np.int64), (len(self), 1))


_ALWAYS = ("images", "transforms", "windows", "source", "rotation", "split", "numbers")
_SOMETIMES = ("masks", "images2", "labels")
"""Arrays of a block, by whether every block has them."""


@dataclass(frozen=True)
class Summary:
    """Count, range and sum of some numbers; merged in one order, the same bit for bit."""

    count: int = 0
    minimum: float = float("inf")
    maximum: float = float("-inf")
    total: float = 0.0

    @property
    def mean(self) -> float:
        """0 for no numbers."""
        return self.total / self.count if self.count else 0.0

    def merge(self, other: "Summary") -> "Summary":
        """Of the numbers of both."""
        return Summary(
            self.count + other.count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.total + other.total,
        )

    @classmethod
    def of(cls, numbers: Any) -> "Summary":
        """Of a sequence of numbers."""
        given = np.asarray(numbers, np.float64).reshape(-1)
        if not given.size:
            return cls()
        return cls(given.size, float(given.min()), float(given.max()), float(given.sum()))

    def to_json(self) -> list[float | None]:
        """Four numbers that :meth:`from_json` reads back; the range of nothing is null."""
        if self.count == 0:
            return [0, None, None, 0.0]
        return [self.count, self.minimum, self.maximum, self.total]

    @classmethod
    def from_json(cls, plain: Any) -> "Summary":
        """The value that :meth:`to_json` wrote."""
        count, minimum, maximum, total = plain
        return cls(int(count), float(minimum), float(maximum), float(total)) if count else cls()


@dataclass(frozen=True)
class LabelStats:
    """What the labels of some chips hold, by class value."""

    chips: int = 0
    pixels: dict[int, Summary] = field(default_factory=dict)
    """Mask pixels of each class in the chips that have it; 0 counts the pixels of no class."""
    areas: dict[int, Summary] = field(default_factory=dict)
    """Area of each object of a class, in squared units of the CRS; the count is that of objects."""
    images: dict[int, int] = field(default_factory=dict)
    """Chips in which each class occurs, as pixels, as an object, or as the chip's own label."""
    classes_per_image: Summary = Summary()
    """Classes other than 0 in each chip."""
    objects_per_image: Summary = Summary()

    @property
    def class_pixels(self) -> dict[int, int]:
        """Mask pixels of each class value."""
        return {value: int(summary.total) for value, summary in self.pixels.items()}

    def merge(self, other: "LabelStats") -> "LabelStats":
        """Of the labels of both. In one order of merging, the same bit for bit."""
        return LabelStats(
            self.chips + other.chips,
            _merged(self.pixels, other.pixels),
            _merged(self.areas, other.areas),
            dict(sorted((Counter(self.images) + Counter(other.images)).items())),
            self.classes_per_image.merge(other.classes_per_image),
            self.objects_per_image.merge(other.objects_per_image),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary that :meth:`from_json` reads back exactly."""
        return {
            "chips": self.chips,
            "pixels": {str(value): summary.to_json() for value, summary in self.pixels.items()},
            "areas": {str(value): summary.to_json() for value, summary in self.areas.items()},
            "images": {str(value): count for value, count in self.images.items()},
            "classes_per_image": self.classes_per_image.to_json(),
            "objects_per_image": self.objects_per_image.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "LabelStats":
        """The value that :meth:`to_json` wrote."""
        return cls(
            int(plain["chips"]),
            {int(value): Summary.from_json(summary) for value, summary in plain["pixels"].items()},
            {int(value): Summary.from_json(summary) for value, summary in plain["areas"].items()},
            {int(value): int(count) for value, count in plain["images"].items()},
            Summary.from_json(plain["classes_per_image"]),
            Summary.from_json(plain["objects_per_image"]),
        )


def _merged(ours: Mapping[int, Summary], theirs: Mapping[int, Summary]) -> dict[int, Summary]:
    nothing = Summary()
    return {
        value: ours.get(value, nothing).merge(theirs.get(value, nothing))
        for value in sorted(set(ours) | set(theirs))
    }


class ChipReader(Protocol):
    """Chips that can be read: a chip store, or a folder of files.

    Indices are positions 0..N-1 or negative ones, in any order and with repeats; results follow their order.
    What the chips do not have raises :class:`StoreError`.
    """

    path: str

    @property
    def spec(self) -> Any:
        """:class:`rasterloom.pipeline.store.layout.StoreSpec`"""

    @property
    def stats(self) -> Any:
        """:class:`rasterloom.pipeline.rasters.statistics.BandStats` of the images, over valid pixels."""

    @property
    def stats2(self) -> Any:
        """The same of the second images; None where there are none."""

    @property
    def label_stats(self) -> LabelStats: ...

    @property
    def class_pixels(self) -> dict[int, int]:
        """Mask pixels of each class value; empty without masks."""

    @property
    def transforms(self) -> np.ndarray: ...

    @property
    def windows(self) -> np.ndarray: ...

    @property
    def source(self) -> np.ndarray: ...

    @property
    def rotation(self) -> np.ndarray: ...

    @property
    def split(self) -> np.ndarray:
        """(N,) text: "train", "val", "test" or ""."""

    @property
    def numbers(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def images(self, indices: Any) -> np.ndarray: ...

    def images2(self, indices: Any) -> np.ndarray: ...

    def masks(self, indices: Any) -> np.ndarray: ...

    def objects(self, indices: Any) -> Objects: ...

    def labels(self, indices: Any) -> np.ndarray: ...

    def block(self, indices: Any) -> ChipBlock:
        """Everything that is known of some chips."""


class ChipSink(Protocol):
    """Where chips are written to: a chip store, or a folder of files. It travels to workers by its path."""

    path: Any
    spec: Any
    shard: int
    """Chips that are written together: a batch is exactly chips ``k * shard`` to ``(k + 1) * shard``."""

    def write(self, start: int, block: ChipBlock) -> None:
        """Write one batch; written again, the bytes are the same."""

    def finish(self, stats: Any, labels: LabelStats, stats2: Any = None) -> None:
        """Complete what stands beside the chips, once all batches are written."""


def missing(path: str, what: str, format_name: str) -> StoreError:
    """The error for a part that chips of a format do not have."""
    return StoreError(f"{path} holds {format_name} chips, which have no {what}.")
