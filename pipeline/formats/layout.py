"""What every folder format says of itself: where files lie, how labels are written and read."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.formats.directory import IMAGE_SUFFIXES, files_under
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats
from rasterloom.pipeline.store.layout import StoreSpec


@dataclass(frozen=True)
class Entry:
    """The files of one chip, relative to the folder, with ``/`` between the parts."""

    stem: str
    image: str
    labels: tuple[str, ...] = ()
    image2: str = ""
    split: str = ""
    """A word of ``SPLITS``."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Chips whose images are written, and whose labels are to be."""

    folder: Path
    spec: StoreSpec
    start: int
    """Position of the first chip among all of the folder."""
    block: ChipBlock
    entries: tuple[Entry, ...]
    """With the image of each chip; labels are still to come."""

    def size(self, chip: int) -> tuple[int, int]:
        """Height and width of what a chip holds."""
        height, width = self.block.known_sizes[chip].tolist()
        return height, width

    def crs(self, chip: int) -> str:
        """Well-known text of the CRS of a chip's raster."""
        return chip_crs(self.spec, int(self.block.source[chip]))


@dataclass(frozen=True, eq=False)
class Written:
    """What was written of the labels of one chip."""

    labels: tuple[str, ...] = ()
    """Files in the order of the columns of map.txt."""
    order: np.ndarray | None = None
    """Positions of the chip's objects in the order that the files give them; None: their own."""


@dataclass(frozen=True, eq=False)
class ChipFiles:
    """One chip of a folder, for reading its labels."""

    root: Path
    entry: Entry
    spec: StoreSpec
    size: tuple[int, int]
    """Height and width of its image."""
    index: Any = None
    """What :meth:`ChipFormat.load` read once for the whole folder."""


@dataclass(frozen=True, eq=False)
class Found:
    """The objects of one chip as its label files give them."""

    values: np.ndarray
    """(k,) int64"""
    boxes: np.ndarray
    """(k, 4) float32"""
    runs: tuple[np.ndarray, ...] | None = None
    """(r, 2) runs of pixels along the rows of the chip's image, one array for each object."""


@dataclass(frozen=True)
class Survey:
    """What a folder of other software holds, before its images are looked at."""

    entries: tuple[Entry, ...]
    classes: tuple[ClassInfo, ...]
    metadata_format: str
    """The format whose kind of chips these are."""
    dropped: int = 0
    """Chips that lack a file that they need."""
    instance_classes: tuple[ClassInfo, ...] = ()


class ChipFormat(ABC):
    """How chips of one metadata format lie in a folder.

    The methods say how a format without labels does it; a format replaces those in which it differs.
    """

    name: ClassVar[str]
    exported: ClassVar[bool] = True
    """Whether map.txt, the model definition and the accumulated statistics stand beside the chips."""
    labels_needed: ClassVar[bool] = False
    """Whether a chip without a label file is left out."""
    several_labels: ClassVar[bool] = False
    """Whether a chip has a label file for each of its classes."""
    gathered: ClassVar[bool] = False
    """Whether labels are gathered from all batches at the end, also those of chips that were there before."""
    near: ClassVar[float] = 0.0
    """Pixels by which boxes differ at most once they are written and read."""

    def check(self, spec: StoreSpec) -> None:
        """Refuse chips that the format cannot hold.

        Raises
        ------
        SettingError
            With the reason, and what would work.
        """
        return

    def image_folder(self, spec: StoreSpec, block: ChipBlock, chip: int) -> str:
        """Folder of a chip's image."""
        return "images"

    def write(self, batch: Batch) -> list[Written]:
        """Write the labels of some chips. Written again, the bytes are the same."""
        return [Written() for _ in batch.entries]

    def finish(self, folder: Path, spec: StoreSpec, parts: Path, labels: LabelStats) -> None:
        """Write what describes all chips together, besides the files that all exported folders have."""
        return

    def survey(self, root: Path) -> Survey:
        """The chips of a folder that has no map.txt.

        Raises
        ------
        StoreError
            If there are none.
        """
        images = files_under(root / "images", IMAGE_SUFFIXES)
        if not images:
            raise StoreError(f"{root} has no images: {self.name} keeps them in {root / 'images'}.")
        entries = [Entry(Path(name).stem, f"images/{name}") for name in images]
        return Survey(tuple(entries), (), self.name)

    def classes(self, root: Path, entries: Sequence[Entry]) -> tuple[ClassInfo, ...]:
        """The classes that the labels of a folder mention, for one that does not list them."""
        return ()

    def load(self, root: Path, spec: StoreSpec) -> Any:
        """What reading needs of the whole folder, read once in each process."""
        return None

    def mask(self, chip: ChipFiles) -> np.ndarray:
        """(h, w) class value of each pixel."""
        raise StoreError(f"{chip.root}: {self.name} has no class maps.")

    def objects(self, chip: ChipFiles) -> Found:
        """The objects of a chip, in the order of its files."""
        raise StoreError(f"{chip.root}: {self.name} has no objects.")

    def label(self, chip: ChipFiles) -> Any:
        """Class value of a chip, or (K,) uint8 for each class."""
        raise StoreError(f"{chip.root}: {self.name} has no labels for whole chips.")


def chip_crs(spec: StoreSpec, source: int) -> str:
    """Well-known text of the CRS of a source."""
    return spec.source_crs[source] if spec.source_crs else spec.crs


def folder_name(name: str, metadata_format: str) -> str:
    """A class name that can be a folder's.

    Raises
    ------
    SettingError
        If it cannot.
    """
    wrong = (
        name in ("", ".", "..")
        or name != name.strip()
        or any(sign in "/\\" or not sign.isprintable() for sign in name)
        or len(name.encode()) > 255
    )
    if wrong:
        raise SettingError(
            f"class name {name!r} cannot be the name of a folder, and {metadata_format} keeps each class in "
            "a folder of its name: give the class another name, without / and \\, or choose another format."
        )
    return name


def check_folder_names(classes: Sequence[ClassInfo], metadata_format: str) -> None:
    """Refuse classes that cannot have a folder each.

    Raises
    ------
    SettingError
        If a name cannot be a folder's, or two names are one for some file systems.
    """
    seen: dict[str, ClassInfo] = {}
    for info in classes:
        other = seen.setdefault(folder_name(info.name, metadata_format).casefold(), info)
        if other is not info:
            raise SettingError(
                f"classes {other.value} and {info.value} are both called {info.name!r}, and "
                f"{metadata_format} keeps each class in a folder of its name: give them names of their own."
            )


def value_of(text: str, classes: Sequence[ClassInfo], *, names_first: bool = False) -> int | None:
    """The class that a label file means by a text: a value, or a name. None where it is none of them."""
    stripped = text.strip()
    named = next((c.value for c in classes if c.name == stripped), None)
    if names_first and named is not None:
        return named
    try:
        number = int(float(stripped)) if float(stripped).is_integer() else None
    except (ValueError, OverflowError):
        number = None
    if number is not None and any(c.value == number for c in classes):
        return number
    return named
