"""What a caller says of a network's bands and classes, in any short form, as values of the contract."""

import colorsys
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rasterloom.models.contract import IMAGENET_MEAN, IMAGENET_STD, ClassInfo, Normalization
from rasterloom.models.errors import SettingError

PALETTE = (
    (230, 159, 0),
    (0, 114, 178),
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
    (120, 94, 60),
)
"""Colours of the first classes, told apart by colour-blind people too (Okabe and Ito, and a brown)."""
BACKGROUND_COLOR = (0, 0, 0)

_GOLDEN = 0.6180339887498949
"""Steps of this share of the colour circle never come close to an earlier one."""
_MOST = 65_534
"""Largest class value: 65535 marks pixels without data."""


def read_classes(given: Any) -> tuple[ClassInfo, ...]:
    """Classes in ascending value.

    Parameters
    ----------
    given
        Names (the values are 1, 2, ..; a first name "background" has 0), a mapping of value to name,
        ``ClassInfo`` values, or rows of (value, name) or (value, name, (red, green, blue)).

    Raises
    ------
    SettingError
        If it is none of these, a value is there twice or out of range, or the values do not ascend: output k
        of the network belongs to the k-th class, so another order would silently rename classes.
    """
    rows = [_completed(row) for row in _rows(given)]
    values = [row.value for row in rows]
    if not rows:
        raise SettingError("classes is empty: name at least one, such as classes=['building'].")
    if values != sorted(set(values)):
        raise SettingError(
            f"classes have the values {values}, which must ascend: output k of the network is the k-th class."
        )
    if values[-1] == 0:
        raise SettingError("classes has the background alone: name at least one class beside it.")
    return tuple(rows)


def default_color(value: int) -> tuple[int, int, int]:
    """A colour for a class value: black for 0, the palette's for the first, different ones for all others."""
    if value == 0:
        return BACKGROUND_COLOR
    if value <= len(PALETTE):
        return PALETTE[value - 1]
    red, green, blue = colorsys.hsv_to_rgb(value * _GOLDEN % 1, 0.65, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def read_bands(given: Any) -> tuple[str, ...]:
    """Names of the bands, from their names or their number. Raises SettingError where it is neither."""
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return tuple(f"Band_{index + 1}" for index in range(given))
    if isinstance(given, Sequence) and not isinstance(given, str) and given:
        return tuple(str(name) for name in given)
    raise SettingError(f"bands={given!r} cannot work: give their number or their names, such as 3.")


def read_positions(given: Iterable[int] | None, count: int) -> tuple[int, ...]:
    """0-based positions of ``count`` bands in the raster; the first ones where none are given."""
    positions = tuple(range(count)) if given is None else tuple(given)
    if len(positions) != count or not all(isinstance(p, int) and p >= 0 for p in positions):
        raise SettingError(
            f"extract_bands={list(positions)} cannot work: give the position in the raster, from 0, "
            f"of each of the {count} bands."
        )
    return positions


def read_scaling(given: Any, count: int) -> Normalization:
    """How pixels of ``count`` bands are scaled before the network sees them.

    Parameters
    ----------
    given
        None (raw numbers), ``"imagenet"`` (0..255, red, green, blue), a number that pixels are divided by, or
        (mean, std), each one number or one for each band, in the raster's units.

    Raises
    ------
    SettingError
        If it is none of these or does not fit the bands.
    """
    if given is None:
        return Normalization((0.0,) * count, (1.0,) * count)
    if isinstance(given, Normalization):
        given = (given.mean, given.std)
    if isinstance(given, str):
        return _imagenet(given, count)
    if _is_number(given):
        return Normalization((0.0,) * count, (float(given),) * count)
    if isinstance(given, Sequence) and len(given) == 2:
        return Normalization(*(_per_band(part, count) for part in given))
    raise SettingError(
        f"normalize={given!r} cannot work: use None, 'imagenet', a number to divide by, or (mean, std)."
    )


def _rows(given: Any) -> list[Any]:
    if isinstance(given, Mapping):
        return list(given.items())
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise SettingError(
            f"classes={given!r} cannot work: give names, {{value: name}}, or (value, name, color) rows."
        )
    rows = list(given)
    if rows and all(isinstance(row, str) for row in rows):
        first = 0 if rows[0].strip().lower() == "background" else 1
        return list(enumerate(rows, start=first))
    return rows


def _completed(row: Any) -> ClassInfo:
    if isinstance(row, ClassInfo):
        row = (row.value, row.name, row.color)
    try:
        value, name, *color = row
        value = int(value)
        red, green, blue = color[0] if color else default_color(value)
        shades = (int(red), int(green), int(blue))
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"class {row!r} cannot be read: use (value, name) or (value, name, (red, green, blue))."
        ) from error
    if not 0 <= value <= _MOST or not all(0 <= shade <= 255 for shade in shades):
        raise SettingError(f"class {row!r} is out of range: values are 0..{_MOST}, colours 0..255.")
    return ClassInfo(value, str(name), shades)


def _imagenet(given: str, count: int) -> Normalization:
    if given.lower() != "imagenet":
        raise SettingError(f"normalize={given!r} is not known: the only name is 'imagenet'.")
    if count != 3:
        raise SettingError(
            f"normalize='imagenet' is for 3 bands, not {count}: give (mean, std) of each band."
        )
    return Normalization(tuple(255 * m for m in IMAGENET_MEAN), tuple(255 * s for s in IMAGENET_STD))


def _per_band(given: Any, count: int) -> tuple[float, ...]:
    numbers = [given] * count if _is_number(given) else list(given) if hasattr(given, "__iter__") else []
    if len(numbers) != count or not all(_is_number(n) and math.isfinite(n) for n in numbers):
        raise SettingError(f"normalize needs one number or {count}, one for each band, and not {given!r}.")
    return tuple(float(n) for n in numbers)


def _is_number(value: Any) -> bool:
    # numbers of numpy and torch are numbers too
    return (
        not isinstance(value, bool | str) and hasattr(value, "__float__") and not getattr(value, "shape", ())
    )
