"""What a folder of chips holds: its files, and what is known of all chips, from whoever wrote it."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import CrsError, SettingError, StoreError
from rasterloom.pipeline.formats import FORMATS, folder_format
from rasterloom.pipeline.formats.definition import (
    DEFINITION,
    INSTANCES,
    read_band_names,
    read_classes,
    read_size,
    read_tile_stats,
)
from rasterloom.pipeline.formats.description import Description
from rasterloom.pipeline.formats.directory import Listing, inside
from rasterloom.pipeline.formats.images import Header, read_header
from rasterloom.pipeline.formats.layout import ChipFormat, Entry, Survey
from rasterloom.pipeline.formats.mapfile import read_map
from rasterloom.pipeline.formats.statistics_files import (
    ACCUMULATED,
    read_band_stats,
    read_json,
    read_label_stats,
)
from rasterloom.pipeline.formats.table import TABLE, ChipTable
from rasterloom.pipeline.rasters.grid import read_crs
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import LabelStats
from rasterloom.pipeline.store.kinds import kind_of
from rasterloom.pipeline.store.layout import StoreSpec

EXPORTED = (DEFINITION, "map.txt", ACCUMULATED)
"""Three files that together make a folder one that was exported."""


@dataclass(frozen=True, eq=False)
class Contents:
    """A folder of chips that is understood."""

    layout: ChipFormat
    spec: StoreSpec
    entries: tuple[Entry, ...]
    sizes: np.ndarray
    """(N, 2) height and width of each image."""
    table: ChipTable | None = None
    rows: np.ndarray | None = None
    """Row of each chip in the table."""
    stats: BandStats | None = None
    stats2: BandStats | None = None
    labels: LabelStats | None = None


def is_exported(root: Path) -> bool:
    """Whether the three files of an exported folder stand there."""
    return all((root / name).is_file() for name in EXPORTED)


def read_contents(root: Path, metadata_format: str | None = None) -> Contents:
    """Understand a folder.

    Parameters
    ----------
    metadata_format
        How a folder lies that does not say it itself.

    Raises
    ------
    StoreError
        If it cannot be understood.
    """
    about = Description.read(root)
    if about is not None and (root / TABLE).exists():
        own = _own(root, about)
        if own is not None:
            return own
    if is_exported(root):
        return _exported(root, metadata_format)
    if metadata_format is None:
        raise StoreError(
            f"{root} does not say what it holds: it lacks {', '.join(EXPORTED)}. Restore them, or say "
            f"dataset_type, one of {', '.join(FORMATS)}."
        )
    layout = folder_format(metadata_format)
    return _measured(root, layout, layout.survey(root), StatedFacts())


def _own(root: Path, about: Description) -> Contents | None:
    """A folder that was written here; None where other software has changed its lists since."""
    table = ChipTable.open(root / TABLE)
    entries = table.entries()
    layout = folder_format(about.spec.metadata_format)
    if layout.exported and is_exported(root) and len(read_map(root / "map.txt")) != len(entries):
        return None
    kept = _complete(root, layout, entries, ours=True)
    spec = replace(about.spec, chips=len(kept))
    if about.boxes_only:
        spec = replace(spec, metadata_format="PASCAL_VOC_rectangles")
    rows = np.array(kept, np.int64)
    sizes = np.asarray(table.chips["size"], np.int64)[rows]
    chosen = tuple(entries[row] for row in kept)
    return Contents(layout, spec, chosen, sizes, table, rows, about.stats, about.stats2, about.labels)


def _complete(root: Path, layout: ChipFormat, entries: Sequence[Entry], *, ours: bool = False) -> list[int]:
    """Positions of the chips whose files are all there; warns of the others.

    Only a chip that says that it has a label file, or one of other software, is missed without it.
    """
    known = Listing(root)
    kept = []
    for position, entry in enumerate(entries):
        files = [entry.image, *([entry.image2] if entry.image2 else [])]
        for name in (*files, *entry.labels):
            inside(root, name)
        present = [known.has(name) for name in entry.labels]
        if ours:
            labelled = all(present)
        elif layout.several_labels:  # a file for each class, absent where a chip lacks the class
            labelled = any(present)
        else:
            labelled = present[0] if present else not layout.labels_needed
        if labelled and all(known.has(name) for name in files):
            kept.append(position)
    _warn(root, len(entries) - len(kept))
    if not kept:
        raise StoreError(f"{root} has no chip with all of its files: restore images/ and labels/.")
    return kept


def _warn(root: Path, dropped: int) -> None:
    if dropped:
        warnings.warn(
            f"{dropped} chips of {root} are left out: their images or label files are not there.",
            UserWarning,
            stacklevel=2,
        )


@dataclass(frozen=True)
class StatedFacts:
    """What the side files of an exported folder say."""

    definition: dict[str, Any] | None = None
    accumulated: dict[str, Any] | None = None

    def get(self, key: str) -> Any:
        """What either file says; texts in a definition are hints."""
        for plain in (self.accumulated, self.definition):
            if plain is not None and plain.get(key) is not None:
                return plain[key]
        return None


def _exported(root: Path, metadata_format: str | None) -> Contents:
    facts = StatedFacts(read_json(root / DEFINITION), read_json(root / ACCUMULATED))
    stated = metadata_format or facts.get("MetaDataMode")
    try:
        layout = folder_format(str(stated))
    except SettingError as error:
        raise StoreError(f"{root} says that it holds {stated!r}, which is not read here: {error}") from error
    entries = read_map(root / "map.txt")
    kept = _complete(root, layout, entries)
    definition, counted = facts.definition or {}, facts.accumulated or {}
    classes = read_classes(definition) or read_classes(counted)
    survey = Survey(
        tuple(entries[position] for position in kept),
        classes,
        layout.name,
        0,
        read_classes(definition, INSTANCES),
    )
    return _measured(root, layout, survey, facts)


def _stated_parameters(definition: Mapping[str, Any]) -> dict[str, Any]:
    """How the chips were cut, as far as their description says it."""
    stated: dict[str, Any] = {"reference_system": str(definition.get("ImageSpaceUsed", "MAP_SPACE"))}
    if definition.get("BlackenAroundFeature"):
        stated["blacken_around_feature"] = True
    if definition.get("CropTileMode") == "Variable_Size":
        stated["fix_chip_size"] = False
    return stated


def _measured(root: Path, layout: ChipFormat, survey: Survey, facts: StatedFacts) -> Contents:
    """A folder of other software, with what its images say."""
    _warn(root, survey.dropped)
    kind = kind_of(survey.metadata_format)
    entries = survey.entries
    classes = survey.classes
    if not classes and (kind.masks or kind.objects or kind.labels):
        classes = tuple(sorted(layout.classes(root, entries), key=lambda info: info.value))
    definition = facts.definition or {}
    fixed = definition.get("CropTileMode") == "Fixed_Size" or (
        facts.definition is not None and "CropTileMode" not in definition
    )
    stated = read_size(definition) or _stated_size(facts)
    if fixed and stated is not None:
        head = read_header(inside(root, entries[0].image))
        sizes = np.tile(np.array(stated, np.int64), (len(entries), 1))
    else:
        heads = _headers(root, entries)
        sizes = np.array([(one.height, one.width) for one in heads], np.int64)
        # photographs that are grey, or have an alpha band, lie among those in colours
        usual = Counter((one.bands, one.dtype) for one in heads).most_common(1)[0][0]
        head = next(one for one in heads if (one.bands, one.dtype) == usual)
    tile = (int(sizes[:, 0].max()), int(sizes[:, 1].max()))
    bands = _names(read_band_names(facts.accumulated or {}, "InputRastersProps"), definition, head, "")
    pairs = kind.pairs and all(entry.image2 for entry in entries)
    second = read_header(inside(root, entries[0].image2)) if pairs else None
    spec = StoreSpec(
        task=kind.task,
        chips=len(entries),
        bands=bands,
        dtype=head.dtype,
        nodata=0.0 if head.nodata == 0 else None,
        crs=head.crs or _stated_crs(facts),
        cell_size=(abs(head.transform.a) or 1.0, abs(head.transform.e) or 1.0),
        tile=tile,
        stride=tile,
        classes=classes,
        sources=(root.name,),
        mask_dtype=_mask_type(classes) if kind.masks else "",
        parameters=_stated_parameters(definition),
        metadata_format=survey.metadata_format,
        bands2=() if second is None else _names((), definition, second, "2"),
        dtype2="" if second is None else second.dtype,
        instance_classes=survey.instance_classes,
    )
    counted = facts.accumulated or {}
    pixels = len(entries) * tile[0] * tile[1]
    return Contents(
        layout,
        spec,
        entries,
        sizes,
        stats=read_band_stats(counted, "BandStatsState", len(bands))
        or read_tile_stats(definition, "AllTilesStats", len(bands), pixels),
        stats2=read_band_stats(counted, "BandStatsState2", len(spec.bands2))
        or read_tile_stats(definition, "AllTilesStats2", len(spec.bands2), pixels),
        labels=read_label_stats(counted, spec) if counted else None,
    )


def _names(listed: tuple[str, ...], definition: dict[str, Any], head: Header, which: str) -> tuple[str, ...]:
    stated = listed or read_band_names(definition, f"InputRastersProps{which}")
    return stated if len(stated) == head.bands else head.names


def _mask_type(classes: Sequence[ClassInfo]) -> str:
    return "uint16" if any(info.value > 255 for info in classes) else "uint8"


def _stated_size(facts: StatedFacts) -> tuple[int, int] | None:
    height, width = facts.get("TileSizeY"), facts.get("TileSizeX")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _stated_crs(facts: StatedFacts) -> str:
    size = facts.get("MinCellSize")
    place = size.get("spatialReference") if isinstance(size, dict) else None
    if not isinstance(place, dict):
        return ""
    try:
        return str(read_crs(place).to_wkt())
    except CrsError:
        return ""


def _headers(root: Path, entries: Sequence[Entry]) -> list[Header]:
    """What the file of each image says of it."""
    with ThreadPoolExecutor(4) as pool:  # most of the time is spent waiting for the disk
        return list(pool.map(lambda entry: read_header(inside(root, entry.image)), entries))
