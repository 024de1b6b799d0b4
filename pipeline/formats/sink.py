"""Write chips into a folder of files batch by batch, from any number of processes."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rasterloom.models.errors import OutputError, SettingError, StoreError
from rasterloom.pipeline.formats import folder_format
from rasterloom.pipeline.formats.definition import DEFINITION, definition
from rasterloom.pipeline.formats.description import DESCRIPTION, Description
from rasterloom.pipeline.formats.directory import replace_text
from rasterloom.pipeline.formats.images import FILE_TYPES, check_chip_format, write_image
from rasterloom.pipeline.formats.layout import Batch, Entry, Written, chip_crs
from rasterloom.pipeline.formats.mapfile import map_line
from rasterloom.pipeline.formats.statistics_files import ACCUMULATED, accumulated, stats_text
from rasterloom.pipeline.formats.table import TABLE, chip_rows, write_rows
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.append import carried
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats
from rasterloom.pipeline.store.layout import SPLITS, StoreSpec

SHARD = 64
"""Chips that are written together: some tens of seconds of files would be lost with a batch, not minutes."""

_WORK = ".sink"
"""Folder of what is needed until the folder is complete."""


@dataclass(frozen=True)
class FolderSink:
    """A folder of chips open for writing. Processes that write different batches do not meet."""

    path: Path
    spec: StoreSpec
    chip_format: str
    """TIFF, PNG, JPEG or MRF."""
    kept: int = 0
    """Chips at the beginning that were there before, and stay as they are."""
    shard: int = SHARD

    @property
    def first(self) -> int:
        """Where writing begins: the first chip of the batch that holds the first new one."""
        return self.kept // self.shard * self.shard

    @classmethod
    def create(
        cls, path: str | Path, spec: StoreSpec, *, chip_format: str = "TIFF", base: Any = None
    ) -> "FolderSink":
        """Lay out an empty folder, or one that begins with the chips of another.

        Parameters
        ----------
        path
            The folder. What an earlier call laid out and wrote there stays.
        spec
            What the folder will hold, the chips of ``base`` included.
        chip_format
            Kind of the image files.
        base
            :class:`FolderChips` that come first. Their files are linked, or copied where that fails.

        Raises
        ------
        SettingError
            If the format cannot hold such chips.
        OutputError
            If the folder cannot be written.
        """
        layout = folder_format(spec.metadata_format)
        layout.check(spec)
        check_chip_format(chip_format, len(spec.bands), spec.dtype)
        if spec.bands2:
            check_chip_format(chip_format, len(spec.bands2), spec.dtype2)
        sink = cls(Path(path), spec, chip_format, 0 if base is None else len(base))
        note = {**spec.to_json(), "chip_format": chip_format, "kept": sink.kept}
        replace_text(sink.path / _WORK / "sink.json", json.dumps(note))
        if base is not None:
            sink._take(base)
        return sink

    @classmethod
    def open(cls, path: str | Path) -> "FolderSink":
        """The folder that :meth:`create` laid out, in another process."""
        note = json.loads((Path(path) / _WORK / "sink.json").read_text("utf-8"))
        return cls(Path(path), StoreSpec.from_json(note), note["chip_format"], note["kept"])

    def write(self, start: int, block: ChipBlock) -> None:
        """Write the files of chips ``start .. start + len(block)``; written again, the bytes are the same.

        Raises
        ------
        StoreError
            If the chips are not exactly one batch.
        OutputError
            If the disk refuses, say because it is full.
        """
        stop = start + len(block)
        if start % self.shard or stop != min(start + self.shard, self.spec.chips):
            raise StoreError(
                f"chips {start}..{stop} are not one batch of {self.shard} of the {self.spec.chips} chips: "
                "write whole batches."
            )
        old = max(0, self.kept - start)
        if old:  # files that were there are not written again: a JPEG would lose a little each time
            block = block.of(np.arange(old, len(block)))
        if not len(block):
            return
        layout = folder_format(self.spec.metadata_format)
        entries = tuple(self._write_images(layout, block))
        batch = Batch(self.path, self.spec, start + old, block, entries)
        written = layout.write(batch)
        self._keep(batch, written)

    def finish(self, stats: BandStats, labels: LabelStats, stats2: BandStats | None = None) -> None:
        """Write what stands beside the chips, once all batches are written.

        Parameters
        ----------
        stats, stats2
            Over the valid pixels of all images, and of all second images.
        labels
            What the labels of all chips hold.
        """
        parts = self._parts
        if not parts.exists() and (self.path / DESCRIPTION).exists():
            self._clean()  # an earlier call got this far
            return
        scan = _Scan(self)
        layout = folder_format(self.spec.metadata_format)
        write_rows(self.path / TABLE, scan.tables())
        if scan.chips != self.spec.chips:
            raise OutputError(
                f"{self.path} has {scan.chips} of its {self.spec.chips} chips: write the missing ones first."
            )
        about = Description(self.spec, self.chip_format, stats, labels, stats2, scan.boxes_only)
        if layout.exported:
            self._write_lists(about, scan)
        layout.finish(self.path, self.spec, parts, labels)
        about.write(self.path)
        self._clean()

    @property
    def _parts(self) -> Path:
        return self.path / _WORK / "parts"

    def _write_images(self, layout: Any, block: ChipBlock) -> Iterator[Entry]:
        kind = FILE_TYPES[self.chip_format]
        # pixels without data are 0 in chips, whatever stood for them in the source
        nodata = None if self.spec.nodata is None else 0.0
        for chip, number in enumerate(block.numbers.tolist()):
            stem = f"{number:012d}"
            height, width = block.known_sizes[chip].tolist()
            image = f"{layout.image_folder(self.spec, block, chip)}/{stem}{kind.suffix}"
            pictures = {image: block.images[chip]}
            image2 = ""
            if block.images2 is not None and self.spec.bands2:
                image2 = f"images2/{stem}{kind.suffix}"
                pictures[image2] = block.images2[chip]
            for name, pixels in pictures.items():
                write_image(
                    self.path / name,
                    np.ascontiguousarray(pixels[:, :height, :width]),
                    chip_format=self.chip_format,
                    transform=block.transforms[chip],
                    crs=chip_crs(self.spec, int(block.source[chip])),
                    nodata=nodata,
                )
            yield Entry(stem, image, (), image2, SPLITS[int(block.split[chip])])

    def _keep(self, batch: Batch, written: list[Written]) -> None:
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._parts} cannot be written: {error}.") from error
        write_rows(self._parts / f"{batch.start:012d}.parquet", [chip_rows(batch, written)])

    def _take(self, base: Any) -> None:
        """Link the files of the chips that come first, and note what is known of them."""
        source = Path(base.path)
        copied = self.path / _WORK / "taken"
        if copied.exists():
            return
        if source.resolve() == self.path.resolve():
            raise SettingError(f"{source} cannot be continued in place: write to another folder.")
        try:
            for name in ("images", "images2", "labels", "labels2"):
                if (source / name).is_dir():
                    shutil.copytree(source / name, self.path / name, copy_function=_link, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            raise OutputError(f"{source} cannot be taken over into {self.path}: {error}.") from error
        layout = folder_format(self.spec.metadata_format)
        for start in range(0, len(base), self.shard):
            chips = np.arange(start, min(start + self.shard, len(base)))
            block = carried(base, chips, self.spec)
            entries = base.entries(chips)
            batch = Batch(self.path, self.spec, start, block, entries)
            if layout.gathered:
                written = layout.write(batch)
            else:
                written = [Written(e.labels, o) for e, o in zip(entries, base.orders(chips), strict=True)]
            self._keep(batch, written)
        copied.touch()

    def _write_lists(self, about: Description, scan: "_Scan") -> None:
        path = self.path / "map.txt"
        partial = path.with_name(".map.txt.partial")
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                for entry in scan.entries():
                    file.write(map_line(entry))
            partial.replace(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}.") from error
        counted = accumulated(about, scan.next_number)
        replace_text(self.path / "stats.txt", stats_text(about))
        replace_text(self.path / ACCUMULATED, _json(counted))
        replace_text(self.path / DEFINITION, _json(definition(about, variable=scan.variable)))

    def _clean(self) -> None:
        shutil.rmtree(self.path / _WORK, ignore_errors=True)


class _Scan:
    """One look at the rows of all batches, in the order of the chips."""

    def __init__(self, sink: FolderSink) -> None:
        self._sink = sink
        self._parts = sorted(sink._parts.glob("*.parquet"))
        self.chips = 0
        self.next_number = 0
        self.variable = False
        self._outlines = self._objects = 0

    @property
    def boxes_only(self) -> bool:
        return self._sink.spec.kind.outlines and self._objects > self._outlines

    def tables(self) -> Iterator[Any]:
        for part in self._parts:
            table = pq.read_table(part)
            self.chips += len(table)
            self.next_number = max(self.next_number, *(n + 1 for n in table["number"].to_pylist()))
            self.variable |= any(tuple(size) != self._sink.spec.tile for size in table["size"].to_pylist())
            self._objects += sum(len(one or ()) for one in table["values"].to_pylist())
            self._outlines += sum(len(one or ()) for one in table["pixels"].to_pylist())
            yield table

    def entries(self) -> Iterator[Entry]:
        for part in self._parts:
            rows = pq.read_table(part, columns=["stem", "image", "labels", "image2"]).to_pylist()
            for row in rows:
                yield Entry(row["stem"], row["image"], tuple(row["labels"]), row["image2"])


def _link(source: str, target: str) -> None:
    if Path(target).exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


def _json(plain: Any) -> str:
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
