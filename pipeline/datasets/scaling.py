"""How pixels of chips are scaled for a network."""

import math
from collections.abc import Sequence

from rasterloom.models.contract import IMAGENET_MEAN, IMAGENET_STD, Normalization
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.pictures import band_position
from rasterloom.pipeline.datasets.preparation import Scaling
from rasterloom.pipeline.rasters.statistics import BandStats


def choose_bands(names: Sequence[str], chosen: Sequence[str | int] | None) -> tuple[int, ...]:
    """0-based positions of the bands to use: those asked for, or all but a fourth one called alpha.

    Raises
    ------
    SettingError
        If a band does not exist or is named twice.
    """
    if chosen is not None:
        positions = tuple(band_position(band, names) for band in chosen)
        if not positions or len(set(positions)) != len(positions):
            raise SettingError(
                f"extract_bands={list(chosen)} cannot work: name each band once, out of {list(names)}."
            )
        return positions
    if len(names) == 4 and names[3].lower() == "alpha":
        return (0, 1, 2)
    return tuple(range(len(names)))


def choose_scaling(
    stats: BandStats, dtype: str, positions: tuple[int, ...], imagery_type: str | None
) -> Scaling:
    """ImageNet's statistics for three bands of 8 bits, else those of the chips.

    Parameters
    ----------
    stats
        Of all bands.
    positions
        Bands that are used.
    imagery_type
        ``RGB`` or ``multispectral`` decide it; None lets the bands decide.

    Raises
    ------
    SettingError
        If ``RGB`` does not fit the bands.

    References
    ----------
    Formats 1.6. Scaling by the range first and by the rescaled mean and deviation then is the same as by
    mean and deviation alone.
    """
    eight_bits, three = dtype == "uint8", len(positions) == 3
    if imagery_type == "RGB" and not (eight_bits and three):
        raise SettingError(
            f"imagery_type='RGB' needs three bands of 8 bits, not {len(positions)} of {dtype}: "
            "use 'multispectral'."
        )
    ranges = _ranges(stats, positions, eight_bits=eight_bits)
    if eight_bits and three and imagery_type != "multispectral":
        return Scaling(
            Normalization(tuple(m * 255 for m in IMAGENET_MEAN), tuple(s * 255 for s in IMAGENET_STD)), ranges
        )
    mean = tuple(float(stats.mean[p]) for p in positions)
    # A band of one value carries nothing: a deviation of 1 turns it into zeros.
    std = tuple(s if math.isfinite(s) and s > 0 else 1.0 for s in (float(stats.std[p]) for p in positions))
    return Scaling(Normalization(mean, std), ranges)


def _ranges(
    stats: BandStats, positions: tuple[int, ...], *, eight_bits: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if eight_bits:
        return (0.0,) * len(positions), (255.0,) * len(positions)
    low = tuple(_finite(stats.minimum[p], 0.0) for p in positions)
    high = tuple(_finite(stats.maximum[p], 1.0) for p in positions)
    return low, tuple(max(h, lowest + 1e-6) for h, lowest in zip(high, low, strict=True))


def _finite(value: float, other: float) -> float:
    return float(value) if math.isfinite(value) else other
