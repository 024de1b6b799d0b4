"""What training chips hold, in figures."""

from collections.abc import Mapping
from dataclasses import dataclass

from rasterloom.pipeline.datasets.sources import ChipSource
from rasterloom.pipeline.store.chips import LabelStats


@dataclass(frozen=True)
class BandFigures:
    """One band over the valid pixels of all chips, in the chips' units."""

    minimum: float
    maximum: float
    mean: float
    std: float


@dataclass(frozen=True)
class DataStatistics:
    """Bands and labels of all chips, before classes are given other values."""

    chips: int
    bands: Mapping[str, BandFigures]
    """By name, in the order in which they are used."""
    labels: LabelStats
    """By class value."""


def data_statistics(source: ChipSource, names: tuple[str, ...], positions: tuple[int, ...]) -> DataStatistics:
    """The figures of the bands that are used, and of the labels."""
    stats = source.stats
    figures = {
        name: BandFigures(stats.minimum[p], stats.maximum[p], stats.mean[p], stats.std[p])
        for name, p in zip(names, positions, strict=True)
    }
    return DataStatistics(len(source), figures, source.label_stats)
