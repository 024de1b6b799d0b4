"""What a raster output is, except its pixels, and where its pixels come from."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Grid, Window


class TileSource(Protocol):
    """The finished tiles of a run. Picklable and small: it travels to whoever puts them together."""

    def within(self, window: Window) -> Iterator[tuple[str, Window]]:
        """What GDAL opens, and its place on the output's grid, for each tile that meets ``window``."""


@dataclass(frozen=True)
class BandStatistics:
    """Figures of the pixels of one band that hold something, in the values that are stored."""

    minimum: float
    maximum: float
    mean: float | None = None
    stddev: float | None = None
    """Of the population."""

    @classmethod
    def of_counts(cls, counts: Mapping[int, int]) -> "BandStatistics | None":
        """Exact figures from the number of pixels of each value; None where there are no pixels."""
        count = sum(counts.values())
        if not count:
            return None
        mean = sum(value * n for value, n in counts.items()) / count
        square = sum((value - mean) ** 2 * n for value, n in counts.items()) / count
        found = [value for value, n in counts.items() if n]
        return cls(min(found), max(found), mean, math.sqrt(square))

    @classmethod
    def of_sums(
        cls, count: int, minimum: float, maximum: float, total: int | None = None, squares: int | None = None
    ) -> "BandStatistics | None":
        """Figures from sums over the pixels; None where there are no pixels.

        Parameters
        ----------
        count
            Number of pixels.
        minimum, maximum
            Extreme values.
        total, squares
            Sum of the values and of their squares, as whole numbers, which add up alike in any order. None
            for what is not whole.
        """
        if not count:
            return None
        if total is None or squares is None:
            return cls(minimum, maximum)
        # whole numbers up to the division: the difference of two large squares keeps all its digits
        variance = (count * squares - total * total) / (count * count)
        return cls(minimum, maximum, total / count, math.sqrt(variance))


@dataclass(frozen=True)
class OutputRaster:
    """A raster about to be written, except its pixels."""

    grid: Grid
    dtype: str
    """NumPy's name of the pixel type."""
    nodata: float | None
    """Value of pixels that hold nothing; NaN for floating-point rasters."""
    bands: tuple[str, ...]
    """Name of each band."""
    classes: tuple[ClassInfo, ...] = ()
    """Classes that may occur, for names and colours."""
    statistics: tuple[BandStatistics | None, ...] = ()
    """Of each band; empty where nobody knows them."""
    scale: float | None = None
    """What a stored value is multiplied by to get what it stands for."""
    resampling: Literal["mode", "average"] = "mode"
    """How overviews are made: ``mode`` for classes, whose average is a class that is not there."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Further items for the file's own metadata."""

    def __post_init__(self) -> None:
        if not self.bands:
            raise SettingError("bands is empty, and a raster has at least one: give each band a name.")
        if self.statistics and len(self.statistics) != len(self.bands):
            raise SettingError(
                f"statistics has {len(self.statistics)} entries for {len(self.bands)} bands: give one for "
                "each, None where nothing is known."
            )

    @classmethod
    def class_map(
        cls, grid: Grid, dtype: str, nodata: int, classes: tuple[ClassInfo, ...], counts: Mapping[int, int]
    ) -> "OutputRaster":
        """One band of class values; ``counts`` says how many pixels hold each."""
        found = BandStatistics.of_counts(counts)
        return cls(grid, dtype, nodata, ("class",), classes, (found,) if found else ())

    @classmethod
    def probabilities(
        cls,
        grid: Grid,
        dtype: Literal["uint8", "float32"],
        classes: tuple[ClassInfo, ...],
        statistics: tuple[BandStatistics | None, ...] = (),
    ) -> "OutputRaster":
        """A band per class: 0..254 for 0..1 with 255 as nodata, or 0..1 with NaN."""
        whole = dtype == "uint8"
        return cls(
            grid,
            dtype,
            255 if whole else math.nan,
            tuple(info.name for info in classes),
            classes,
            statistics,
            scale=1 / 254 if whole else None,
            resampling="average",
        )

    @property
    def is_class_map(self) -> bool:
        """Whether pixels are class values, not measurements."""
        return self.resampling == "mode" and len(self.bands) == 1
