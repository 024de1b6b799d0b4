"""Which pixels an inference function asks for, and what it says that it gives back."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import PackageError

USUAL_TILE = 256
"""Side of what is kept of a tile, in pixels, where neither the function nor its description says."""

_CODES = {
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "i1": "int8", "i2": "int16", "i4": "int32",
    "f4": "float32", "f8": "float64", "t1": "uint8",
}  # fmt: skip
_WIDER = {"uint8": "uint16", "int8": "int16", "uint16": "int32", "int16": "int32"}
"""Types that have room for a value that stands for nothing."""
_STORED = {"int8": "int16"}
"""Types that GeoTIFF readers do not know widely."""
_GREYS = 199


@dataclass(frozen=True)
class Configuration:
    """The tiles that a function works on."""

    tile: tuple[int, int]
    """Height and width of what comes out of a tile, in pixels."""
    padding: int
    """Pixels that it sees around that, on each side."""
    bands: tuple[int, ...] | None
    """0-based bands of the raster; None for all."""

    @property
    def seen(self) -> tuple[int, int]:
        """Height and width of what it sees."""
        return self.tile[0] + 2 * self.padding, self.tile[1] + 2 * self.padding


@dataclass(frozen=True)
class OutputInfo:
    """The raster that a function makes."""

    bands: int
    dtype: str
    """NumPy's name of the pixel type that is written."""
    nodata: float
    """Value of pixels that hold nothing; NaN for floating point."""
    classes: tuple[ClassInfo, ...] = ()
    """What the values stand for; empty where they are measurements."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel."""
        return self.bands * np.dtype(self.dtype).itemsize


def read_configuration(plain: Any, emd: Mapping[str, Any], *, source: str) -> Configuration:
    """What ``getConfiguration`` returned, and where it is silent what the description says.

    Raises
    ------
    PackageError
        If a number cannot work.
    """
    if plain is not None and not isinstance(plain, Mapping):
        raise PackageError(f"{source}: getConfiguration gives {type(plain).__name__}, no dictionary.")
    given = dict(plain or {})
    padding = _whole(given.get("padding", 0), "padding", 0, source)
    sides = []
    for key, side in (("ty", "ImageHeight"), ("tx", "ImageWidth")):
        usual = emd.get(side)
        kept = usual - 2 * padding if isinstance(usual, int) and usual > 2 * padding else USUAL_TILE
        sides.append(_whole(given.get(key, kept), key, 1, source))
    return Configuration((sides[0], sides[1]), padding, _bands(given, emd, source))


def read_output(info: Any, emd: Mapping[str, Any], *, untouched: Any, source: str) -> OutputInfo:
    """What ``updateRasterInfo`` made of ``output_info``.

    Parameters
    ----------
    untouched
        The NoData value that was in it before.

    Raises
    ------
    PackageError
        If the number of bands or the pixel type cannot be read.
    """
    bands = _whole(info.get("bandCount", 1), "bandCount", 1, source)
    code = str(info.get("pixelType", "")).strip().lower()
    if code not in _CODES:
        raise PackageError(
            f"{source}: updateRasterInfo says pixelType {info.get('pixelType')!r}, and known are "
            f"{', '.join(_CODES)}."
        )
    dtype = _STORED.get(_CODES[code], _CODES[code])
    whole = np.issubdtype(np.dtype(dtype), np.integer)
    classes = _classes(info.get("rasterAttributeTable"), emd, source) if bands == 1 and whole else ()
    said = _first_number(info.get("noData"))
    if said is not None and said != untouched and _fits(said, dtype):
        return OutputInfo(bands, dtype, said, classes)
    if not whole:
        return OutputInfo(bands, dtype, math.nan)
    if not classes or _nothing(dtype) in {info.value for info in classes}:
        # every value may be a measurement, so what stands for nothing needs room of its own
        dtype = _WIDER.get(dtype, dtype)
    return OutputInfo(bands, dtype, _nothing(dtype), classes)


def code_of(dtype: str) -> str:
    """The pixel type in the words of functions: ``u1`` for ``uint8``."""
    return np.dtype(dtype).str[1:]


def _nothing(dtype: str) -> int:
    """The largest value where there is no sign, else the smallest."""
    limits = np.iinfo(dtype)
    return int(limits.max if limits.min == 0 else limits.min)


def _fits(value: float, dtype: str) -> bool:
    if not np.issubdtype(np.dtype(dtype), np.integer):
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _whole(value: Any, name: str, least: int, source: str) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise PackageError(f"{source} says {name}={value!r}, which is no number.") from error
    if not number.is_integer() or number < least:
        raise PackageError(f"{source} says {name}={value!r}: it must be a whole number from {least}.")
    return int(number)


def _bands(given: Mapping[str, Any], emd: Mapping[str, Any], source: str) -> tuple[int, ...] | None:
    bands = given.get("extractBands")
    if bands is None or isinstance(bands, str):
        bands = emd.get("ExtractBands")
    if bands is None or isinstance(bands, str) or not len(bands):
        return None  # a text is a hint to whoever fills the description in
    return tuple(_whole(band, "extractBands", 0, source) for band in bands)


def _first_number(value: Any) -> float | None:
    try:
        flat = np.asarray(value, dtype=float).ravel()
    except (TypeError, ValueError):
        return None
    return float(flat[0]) if flat.size and not np.isnan(flat[0]) else None


def _classes(table: Any, emd: Mapping[str, Any], source: str) -> tuple[ClassInfo, ...]:
    """The classes of an attribute table, or of the description where there is none."""
    if not table:
        return _emd_classes(emd)
    try:
        plain = json.loads(table) if isinstance(table, str) else table
        rows = [feature["attributes"] for feature in plain["features"]]
        found = [_class_of(row, ("Value", "Class"), _colour(row)) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{source}: its rasterAttributeTable cannot be read ({error!r}).") from error
    return _sorted(found)


def _emd_classes(emd: Mapping[str, Any]) -> tuple[ClassInfo, ...]:
    rows = emd.get("Classes")
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        return ()
    try:
        found = [_class_of(row, ("Value", "Name"), row.get("Color")) for row in rows]
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()  # names are welcome, and nothing hangs on them
    return _sorted(found)


def _class_of(row: Mapping[str, Any], keys: tuple[str, str], colour: Any) -> ClassInfo:
    value = int(row[keys[0]])
    grey = 55 + value * 67 % _GREYS
    red, green, blue = (int(part) for part in colour) if colour else (grey, grey, grey)
    shown = (red, green, blue) if min(red, green, blue) >= 0 else (grey, grey, grey)
    return ClassInfo(value, str(row.get(keys[1], value)), shown)


def _colour(row: Mapping[str, Any]) -> tuple[Any, ...] | None:
    parts = tuple(row.get(name) for name in ("Red", "Green", "Blue"))
    return None if None in parts else parts


def _sorted(found: list[ClassInfo]) -> tuple[ClassInfo, ...]:
    known = {info.value: info for info in reversed(found)}
    return tuple(known[value] for value in sorted(known) if value >= 0)
