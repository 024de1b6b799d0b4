"""Read a folder of chips, written here or by other software, in batches."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.contents import Contents, read_contents
from rasterloom.pipeline.formats.directory import inside
from rasterloom.pipeline.formats.images import read_image, read_transform
from rasterloom.pipeline.formats.layout import ChipFiles, Entry
from rasterloom.pipeline.formats.table import completed, read_objects
from rasterloom.pipeline.formats.widths import widened
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats, missing
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec
from rasterloom.pipeline.store.tally import label_stats

MEASURED = 500
"""Chips that are looked at for band statistics where a folder has none."""

_STEP = 32
"""Chips read at a time to measure."""


class FolderChips:
    """A folder of chips open for reading.

    Nothing is read before it is asked for, no file stays open, and only the path is pickled. Images that
    are smaller than the largest are filled up with zeros on the right and below; ``block.sizes`` tells.

    Parameters
    ----------
    path
        The folder.
    metadata_format
        How a folder lies that does not say it itself.
    """

    def __init__(self, path: str | Path, metadata_format: str | None = None) -> None:
        self.path = str(path)
        self._format = metadata_format

    def __repr__(self) -> str:
        return f"FolderChips({self.path!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_format": self._format}

    def __len__(self) -> int:
        return self.spec.chips

    @cached_property
    def _contents(self) -> Contents:
        return read_contents(Path(self.path), self._format)

    @property
    def spec(self) -> StoreSpec:
        """Everything but the chips.

        Raises
        ------
        StoreError
            If the folder cannot be understood.
        """
        return self._contents.spec

    @cached_property
    def stats(self) -> BandStats:
        """Statistics of each band: the folder's own, else of the first 500 chips."""
        return self._contents.stats or self._measured("image")

    @cached_property
    def stats2(self) -> BandStats | None:
        """The same of the second images; None where there are none."""
        if not self.spec.bands2:
            return None
        return self._contents.stats2 or self._measured("image2")

    @cached_property
    def label_stats(self) -> LabelStats:
        """What the labels hold: what the folder says, else counted."""
        known = self._contents.labels
        if known is not None:
            return known
        total = LabelStats()
        for start in range(0, len(self), _STEP):
            block = self.block(range(start, min(start + _STEP, len(self))))
            total = total.merge(label_stats(block, self.spec))
        return total

    @property
    def class_pixels(self) -> dict[int, int]:
        """Mask pixels of each class value; empty without masks."""
        return self.label_stats.class_pixels if self.spec.kind.masks else {}

    @cached_property
    def transforms(self) -> np.ndarray:
        """(N, 6) affine coefficients a, b, c, d, e, f of each chip."""
        return self._transforms(np.arange(len(self)))

    @property
    def windows(self) -> np.ndarray:
        """(N, 4) row, column, height and width on the source's grid; from 0, 0 where nobody knows."""
        return self._column("window", self._unknown_windows)

    @property
    def source(self) -> np.ndarray:
        """(N,) position of each chip's raster in ``spec.sources``."""
        return self._column("source", lambda: np.zeros(len(self), np.int32))

    @property
    def rotation(self) -> np.ndarray:
        """(N,) degrees that each chip is turned by."""
        return self._column("rotation", lambda: np.zeros(len(self), np.float32))

    @property
    def split(self) -> np.ndarray:
        """(N,) text: "train", "val", "test", or "" where the folder leaves it open."""
        return np.array([entry.split for entry in self._contents.entries], "<U5")

    @cached_property
    def numbers(self) -> np.ndarray:
        """(N,) number of each chip: that of its file, or its position where files are not numbered."""
        return self._column("number", self._stem_numbers)

    def sizes(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, 2) height and width of what chips really hold."""
        return self._contents.sizes[self._chips(indices)]

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images (n, C, H, W) in the order asked for; negative indices count from the end.

        Raises
        ------
        IndexError
            If there is no such chip.
        StoreError
            If a file is damaged, or not as large as the others.
        """
        return self._pixels("image", self._chips(indices))

    def images2(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Second images (n, C2, H, W) in the order asked for."""
        if not self.spec.bands2:
            raise self._missing("second images")
        return self._pixels("image2", self._chips(indices))

    def masks(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Class values (n, H, W) in the order asked for; 0 where there is no class."""
        if not self.spec.kind.masks:
            raise self._missing("class maps")
        chips = self._chips(indices)
        masks = np.zeros((len(chips), *self.spec.tile), self.spec.mask_dtype)
        known = np.zeros(65536, bool)
        known[[0, *(info.value for info in self.spec.classes)]] = True
        for mask, chip in zip(masks, chips.tolist(), strict=True):
            found = self._contents.layout.mask(self._files(chip))
            height, width = found.shape
            mask[:height, :width] = np.where(known[found], found, 0)
        return masks

    def objects(self, indices: Sequence[int] | np.ndarray) -> Objects:
        """Objects of the chips in the order asked for; those of unknown classes are left out."""
        if not self.spec.kind.objects:
            raise self._missing("objects")
        chips = self._chips(indices)
        if not len(chips):
            return Objects.none(0, outlines=self.spec.kind.outlines)
        return Objects.joined([self._objects_of(chip)[0] for chip in chips.tolist()])

    def labels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n,) int64 class values, or (n, K) uint8, in the order asked for."""
        kind = self.spec.kind
        if not kind.labels:
            raise self._missing("labels of whole chips")
        chips = self._chips(indices).tolist()
        found = [self._contents.layout.label(self._files(chip)) for chip in chips]
        if kind.several_labels:
            return np.array(found, np.uint8).reshape(len(chips), len(self.spec.classes))
        return np.array(found, np.int64).reshape(len(chips))

    def block(self, indices: Sequence[int] | np.ndarray) -> ChipBlock:
        """Everything that is known of some chips."""
        chips = self._chips(indices)
        kind, sizes = self.spec.kind, self._contents.sizes[chips]
        return ChipBlock(
            images=self._pixels("image", chips),
            transforms=self._transforms(chips),
            windows=self.windows[chips],
            source=self.source[chips],
            rotation=self.rotation[chips],
            split=np.array([SPLITS.index(self._contents.entries[c].split) for c in chips.tolist()], np.uint8),
            numbers=self.numbers[chips],
            masks=self.masks(chips) if kind.masks else None,
            images2=self._pixels("image2", chips) if self.spec.bands2 else None,
            objects=self.objects(chips) if kind.objects else None,
            labels=self.labels(chips) if kind.labels else None,
            sizes=None if (sizes == np.array(self.spec.tile)).all() else sizes,
        )

    def entries(self, indices: Sequence[int] | np.ndarray) -> tuple[Entry, ...]:
        """The files of some chips."""
        return tuple(self._contents.entries[chip] for chip in self._chips(indices).tolist())

    def orders(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray | None]:
        """Of each chip, positions of its objects in the order that its files give them."""
        if not self.spec.kind.objects:
            return [None for _ in self._chips(indices)]
        return [self._objects_of(chip)[1] for chip in self._chips(indices).tolist()]

    @cached_property
    def _index(self) -> Any:
        return self._contents.layout.load(Path(self.path), self.spec)

    @cached_property
    def _known_objects(self) -> Any:
        table = self._contents.table
        return None if table is None else read_objects(table.path)

    def _files(self, chip: int) -> ChipFiles:
        height, width = self._contents.sizes[chip].tolist()
        return ChipFiles(
            Path(self.path), self._contents.entries[chip], self.spec, (height, width), self._index
        )

    def _objects_of(self, chip: int) -> tuple[Objects, np.ndarray | None]:
        contents, spec = self._contents, self.spec
        files = self._files(chip)
        found = widened(contents.layout.objects(files), files.size[1], spec.tile[1])
        row = None
        if self._known_objects is not None and contents.rows is not None:
            row = self._known_objects.slice(int(contents.rows[chip]), 1).to_pylist()[0]
        return completed(
            found,
            row,
            width=spec.tile[1],
            pixel_area=spec.cell_size[0] * spec.cell_size[1],
            near=contents.layout.near,
        )

    def _chips(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        chips = np.asarray(indices, np.int64).reshape(-1)
        wrong = chips[(chips < -len(self)) | (chips >= len(self))]
        if wrong.size:
            raise IndexError(f"chip {wrong[0]} of {self.path}: it has chips 0 to {len(self) - 1}.")
        return np.where(chips < 0, chips + len(self), chips)

    def _pixels(self, which: str, chips: np.ndarray) -> np.ndarray:
        spec = self.spec
        bands, dtype = (spec.bands, spec.dtype) if which == "image" else (spec.bands2, spec.dtype2)
        pixels = np.zeros((len(chips), len(bands), *spec.tile), dtype)
        for target, chip in zip(pixels, chips.tolist(), strict=True):
            path = inside(Path(self.path), getattr(self._contents.entries[chip], which))
            found = _of_bands(read_image(path), len(bands), path)
            size = tuple(self._contents.sizes[chip].tolist())
            if found.shape[1:] != size or found.dtype != pixels.dtype:
                raise StoreError(
                    f"{path} is {found.shape[1]} x {found.shape[2]} pixels of {found.dtype}, and the "
                    f"folder's chips are {size[0]} x {size[1]} of {dtype}: take it out, or mend it."
                )
            target[:, : size[0], : size[1]] = found
        return pixels

    def _transforms(self, chips: np.ndarray) -> np.ndarray:
        contents = self._contents
        if contents.table is not None and contents.rows is not None:
            return np.asarray(contents.table.chips["transform"][contents.rows[chips]])
        paths = [inside(Path(self.path), contents.entries[chip].image) for chip in chips.tolist()]
        return np.array([tuple(read_transform(path))[:6] for path in paths], np.float64).reshape(-1, 6)

    def _column(self, name: str, otherwise: Any) -> np.ndarray:
        contents = self._contents
        if contents.table is None or contents.rows is None:
            return np.asarray(otherwise())
        return np.asarray(contents.table.chips[name][contents.rows])

    def _unknown_windows(self) -> np.ndarray:
        sizes = self._contents.sizes
        return np.concatenate([np.zeros_like(sizes), sizes], axis=1)

    def _stem_numbers(self) -> np.ndarray:
        stems = [entry.stem for entry in self._contents.entries]
        if all(stem.isascii() and stem.isdigit() and len(stem) < 18 for stem in stems):
            numbers = np.array([int(stem) for stem in stems], np.int64)
            if (np.diff(numbers) > 0).all():
                return numbers
        return np.arange(len(stems), dtype=np.int64)

    def _measured(self, which: str) -> BandStats:
        bands = self.spec.bands if which == "image" else self.spec.bands2
        total = BandStats.empty(len(bands))
        for start in range(0, min(MEASURED, len(self)), _STEP):
            chips = np.arange(start, min(start + _STEP, len(self), MEASURED))
            pixels = self._pixels(which, chips)
            for chip, image in zip(chips.tolist(), pixels, strict=True):
                height, width = self._contents.sizes[chip].tolist()
                own = image[:, :height, :width]
                valid = own.any(axis=0) if self.spec.nodata == 0 else np.ones(own.shape[1:], bool)
                total = total.merge(BandStats.of(own, valid))
        return total

    def _missing(self, what: str) -> StoreError:
        return missing(self.path, what, self.spec.metadata_format)


def _of_bands(pixels: np.ndarray, bands: int, path: Path) -> np.ndarray:
    """An image with the folder's number of bands: grey is repeated for colours, and alpha is left out."""
    if len(pixels) == bands:
        return pixels
    if len(pixels) == 1 and bands == 3:
        return np.repeat(pixels, 3, axis=0)
    if len(pixels) in (2, 4) and bands == len(pixels) - 1:
        return pixels[:-1]
    if len(pixels) == 2 and bands == 3:
        return np.repeat(pixels[:1], 3, axis=0)
    raise StoreError(
        f"{path} has {len(pixels)} bands, and the folder's first chip has {bands}: take it out of the folder."
    )
