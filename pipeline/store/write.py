"""Write a chip store shard by shard, from any number of processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from rasterloom.models.errors import OutputError, StoreError
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.append import check_append, link_shards
from rasterloom.pipeline.store.arrays import check_types, chip_arrays
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats
from rasterloom.pipeline.store.gather import keep, put_together
from rasterloom.pipeline.store.layout import StoreSpec, stats_to_json
from rasterloom.pipeline.store.read import ChipStore


@dataclass(frozen=True)
class ChipWriter:
    """A chip store open for writing. Processes that write different shards do not meet."""

    path: Path
    spec: StoreSpec
    shard: int
    """Chips of a shard."""
    first: int = 0
    """Chip that writing begins with: those before it were taken over from the store that is appended to."""
    base: str = ""
    """Folder of that store; empty where there is none."""

    @classmethod
    def create(
        cls,
        path: str | Path,
        spec: StoreSpec,
        *,
        shard: int | None = None,
        base: ChipStore | None = None,
    ) -> "ChipWriter":
        """Lay out an empty store, or one that begins with the chips of another.

        Parameters
        ----------
        path
            Folder of the store. What an earlier call laid out there is laid out anew; shards stay.
        spec
            What the store will hold, the chips of ``base`` included; see
            :func:`rasterloom.pipeline.store.append.merged_spec`.
        shard
            Chips of a shard. None takes ``spec.shard``.
        base
            A finished store whose chips come first. Its whole shards are linked, or copied where the disk
            cannot link; the rest of its chips must be written again, with the first new ones: see ``first``.
            It must stay until :meth:`finish` is through.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        StoreError
            If the description lacks something, or ``base`` does not agree with it.
        """
        path = Path(path)
        check_types(spec)
        shard = spec.shard if shard is None else max(1, min(shard, spec.chips))
        arrays = chip_arrays(spec, shard)
        if base is not None:
            check_append(base.spec, spec)
        try:
            path.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(path, mode="a", zarr_format=3)
            for name, layout in arrays.items():
                if name not in group:
                    group.create_array(name, **layout)
            first = 0
            if base is not None and base.local:
                first = link_shards(Path(base.path), path, arrays, shard=shard, chips=len(base))
            begins = {} if base is None else {"first": first, "base": base.path}
            group.attrs.put({**spec.to_json(), "shard": shard, **begins})
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error}. Choose a writable folder.") from error
        return cls(path, spec, shard, first, "" if base is None else base.path)

    @classmethod
    def open(cls, path: str | Path) -> "ChipWriter":
        """The store that :meth:`create` laid out, in another process."""
        attributes = dict(zarr.open_group(Path(path), mode="r").attrs)
        return cls(
            Path(path),
            StoreSpec.from_json(attributes),
            int(attributes["shard"]),
            int(attributes.get("first", 0)),
            str(attributes.get("base", "")),
        )

    def write(self, start: int, block: ChipBlock) -> None:
        """Store chips ``start .. start + len(block)``; writing them again gives the same bytes.

        Parts that chips of the format do not have are left out.

        Raises
        ------
        StoreError
            If the chips are not exactly one shard, or lack something that chips of the format have.
        OutputError
            If the disk refuses, say because it is full.
        """
        stop = start + len(block)
        if start < self.first or start % self.shard or stop != min(start + self.shard, self.spec.chips):
            raise StoreError(
                f"chips {start}..{stop} are not one shard of {self.shard} of the {self.spec.chips} chips"
                f"{f' from {self.first} on' if self.first else ''}: write whole shards."
            )
        parts, objects = self._parts(block), self._objects(block)
        group = zarr.open_group(self.path, mode="r+")
        try:
            for name, values in parts.items():
                group[name][start:stop] = values
            if objects is not None:
                keep(self.path, start, objects, outlines=self.spec.kind.outlines)
        except OSError as error:
            raise OutputError(self._refused(start, stop, error)) from error

    def finish(self, stats: BandStats, labels: LabelStats, stats2: BandStats | None = None) -> None:
        """Complete the store once all shards are written, and sweep what a killed writer left. Repeatable.

        Parameters
        ----------
        stats
            Over the valid pixels of all chips, those of ``base`` included.
        labels
            Of all chips.
        stats2
            The same as ``stats`` of the second images.

        Raises
        ------
        StoreError
            If a shard was never written.
        OutputError
            If the disk refuses.
        """
        try:
            if self.spec.kind.objects:
                put_together(
                    self.path,
                    starts=range(self.first, self.spec.chips, self.shard),
                    chips=self.spec.chips,
                    outlines=self.spec.kind.outlines,
                    before=self._before(),
                )
            for leftover in self.path.rglob("*.partial"):
                leftover.unlink(missing_ok=True)
            zarr.open_group(self.path, mode="r+").attrs.put(self._attributes(stats, labels, stats2))
        except OSError as error:
            raise OutputError(f"{self.path} could not be completed: {error}.") from error

    def _attributes(self, stats: BandStats, labels: LabelStats, stats2: BandStats | None) -> dict[str, Any]:
        counts = {str(value): count for value, count in sorted(labels.class_pixels.items())}
        return {
            **self.spec.to_json(),
            "shard": self.shard,
            "statistics": stats_to_json(stats),
            "class_pixels": counts,
            "label_statistics": labels.to_json(),
            **({} if stats2 is None else {"statistics2": stats_to_json(stats2)}),
        }

    def _before(self) -> Iterator[Objects]:
        """Objects of the chips that were taken over."""
        base = ChipStore(self.base)
        for start in range(0, self.first, self.shard):
            yield base.objects(range(start, start + self.shard))

    def _parts(self, block: ChipBlock) -> dict[str, np.ndarray]:
        """Values of each array that begins with the chip."""
        parts = {
            "images": block.images,
            "transform": block.transforms,
            "window": block.windows,
            "source": block.source,
            "rotation": block.rotation,
            "split": block.split,
            "number": block.numbers,
        }
        if block.sizes is not None:
            whole = (block.sizes == np.array(self.spec.tile)).all(axis=1)
            parts["size"] = np.where(whole[:, None], 0, block.sizes)
        kind = self.spec.kind
        if kind.masks:
            parts["masks"] = self._there("masks", block.masks)
        if self.spec.bands2:
            parts["images2"] = self._there("second images", block.images2)
        if kind.labels:
            parts["chip_labels"] = self._there("labels", block.labels)
        return parts

    def _objects(self, block: ChipBlock) -> Objects | None:
        if not self.spec.kind.objects:
            return None
        objects = self._there("objects", block.objects)
        if self.spec.kind.outlines and not len(objects):
            return Objects.none(len(block), outlines=True)
        if self.spec.kind.outlines:
            self._there("outlines of the objects", objects.runs)
        return objects

    def _there(self, what: str, part: Any) -> Any:
        if part is None:
            raise StoreError(f"{self.spec.metadata_format} chips have {what}, and these have none.")
        return part

    def _refused(self, start: int, stop: int, error: OSError) -> str:
        shard_mb = (stop - start) * self.spec.chip_bytes / 1e6
        total_mb = self.spec.chips * self.spec.chip_bytes / 1e6
        return (
            f"chips {start}..{stop} could not be written to {self.path.parent}: {error}. "
            f"This shard takes up to {shard_mb:.1f} MB and the whole store up to {total_mb:.1f} MB: "
            "make room, or choose another output folder."
        )
