"""Chips from pixels and labels: images, labels and their statistics in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.pipeline.chips.labelling import label_chips
from rasterloom.pipeline.chips.pixels import read_chips
from rasterloom.pipeline.chips.places import transforms_of
from rasterloom.pipeline.chips.plan import Cutting
from rasterloom.pipeline.chips.sources import ChipSource
from rasterloom.pipeline.chips.tally import BandTally
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import ChipBlock, LabelStats
from rasterloom.pipeline.store.layout import StoreSpec, stats_from_json, stats_to_json
from rasterloom.pipeline.store.tally import label_stats


@dataclass(frozen=True)
class ChipStats:
    """Statistics of some chips."""

    bands: BandStats
    """Over the valid pixels; a pixel in two overlapping chips counts twice."""
    bands2: BandStats | None
    """The same of the second images."""
    labels: LabelStats

    def merge(self, other: "ChipStats") -> "ChipStats":
        """Statistics of both groups of chips. In one order of merging, the same bit for bit."""
        both = self.bands2 is not None and other.bands2 is not None
        return ChipStats(
            self.bands.merge(other.bands),
            self.bands2.merge(other.bands2) if both and self.bands2 and other.bands2 else None,
            self.labels.merge(other.labels),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary that :meth:`from_json` reads back."""
        return {
            "bands": stats_to_json(self.bands),
            "bands2": None if self.bands2 is None else stats_to_json(self.bands2),
            "labels": self.labels.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "ChipStats":
        """The value that :meth:`to_json` wrote."""
        second = plain["bands2"]
        return cls(
            stats_from_json(plain["bands"]),
            None if second is None else stats_from_json(second),
            LabelStats.from_json(plain["labels"]),
        )

    @classmethod
    def nothing(cls, spec: StoreSpec) -> "ChipStats":
        """Statistics of no chips."""
        second = BandStats.empty(len(spec.bands2)) if spec.bands2 else None
        return cls(BandStats.empty(len(spec.bands)), second, LabelStats())


def cut_chips(
    sources: Mapping[int, ChipSource], chips: np.ndarray, cutting: Cutting, spec: StoreSpec
) -> tuple[ChipBlock, ChipStats]:
    """Cut chips out of rasters and make their labels.

    Parameters
    ----------
    sources
        Those that the chips are from, by their positions.
    chips
        Table of ``CHIP``, sources in order.
    cutting
        How they are cut.
    spec
        Of what they are written to: says which parts are made, and of which types.

    Returns
    -------
    block : ChipBlock
        Pixels that hold nothing, or lie beyond the raster, are 0 in the images; labels are there too.
    stats : ChipStats

    Raises
    ------
    ReadError
        If pixels cannot be read.
    """
    tally = BandTally(len(spec.bands), spec.dtype)
    tally2 = BandTally(len(spec.bands2), spec.dtype2) if spec.bands2 else None
    blocks = [
        _of_source(sources[number], chips[chips["source"] == number], cutting, spec, tally, tally2)
        for number in np.unique(chips["source"]).tolist()
    ]
    block = ChipBlock.joined(blocks)
    second = None if tally2 is None else tally2.stats()
    return block, ChipStats(tally.stats(), second, label_stats(block, spec))


def _of_source(
    source: ChipSource,
    chips: np.ndarray,
    cutting: Cutting,
    spec: StoreSpec,
    tally: BandTally,
    tally2: BandTally | None,
) -> ChipBlock:
    angle, found = cutting.angle, label_chips(source, chips, cutting, spec)
    images = _images(source.raster, chips, cutting, tally, found.shown)
    images2 = None
    if tally2 is not None and source.second is not None:
        images2 = _images(source.second, chips, cutting, tally2, found.shown)
    sizes = np.stack([chips["height"], chips["width"]], axis=1).astype(np.int64)
    return ChipBlock(
        images=images,
        transforms=transforms_of(chips, source.raster.grid, angle),
        windows=np.stack([chips[side] for side in ("row", "col", "height", "width")], axis=1).astype(
            np.int64
        ),
        source=chips["source"].astype(np.int32),
        rotation=(chips["turn"] * angle).astype(np.float32),
        split=chips["split"].astype(np.uint8),
        numbers=chips["number"].astype(np.int64),
        masks=found.masks,
        images2=images2,
        objects=found.objects,
        labels=found.labels,
        sizes=None if (sizes == np.array(cutting.tile)).all() else sizes,
    )


def _images(
    raster: Any, chips: np.ndarray, cutting: Cutting, tally: BandTally, shown: np.ndarray | None
) -> np.ndarray:
    images, valid = read_chips(raster, chips, cutting.tile, angle=cutting.angle)
    if shown is not None:
        images *= shown[:, None]
        valid &= shown
    tally.add(images, valid)
    return images
