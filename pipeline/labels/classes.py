"""Which classes a label layer holds, and which one each feature belongs to."""

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import LabelError

MAX_VALUE = 65_535
"""Greatest class value: masks are 8 or 16 bits wide."""

VALUE_FIELDS = ("classvalue", "value")
NAME_FIELDS = ("classname", "name")

_PALETTE = (
    (228, 87, 86),
    (76, 120, 168),
    (84, 162, 75),
    (245, 133, 24),
    (114, 183, 178),
    (178, 121, 162),
    (238, 202, 59),
    (157, 117, 93),
    (255, 157, 166),
    (121, 112, 110),
)
"""Tableau's ten colours, as Vega publishes them."""


def default_color(index: int) -> tuple[int, int, int]:
    """Red, green, blue (0..255) for the class at a position; neighbours differ in hue."""
    if index < len(_PALETTE):
        return _PALETTE[index]
    # steps of the golden angle never come near an earlier hue for long
    red, green, blue = colorsys.hsv_to_rgb((index * 0.618034) % 1.0, 0.65, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


@dataclass(frozen=True)
class ClassTable:
    """The classes of a whole layer, and how a feature's field value becomes a class value."""

    field: str | None
    """Field that holds the class. None where every feature is of one class."""
    classes: tuple[ClassInfo, ...]
    """In ascending value."""
    numbers: dict[Any, int] | None
    """Class value of each text of the field. None where the field holds the values themselves."""

    def values_of(self, features: Any) -> np.ndarray:
        """Class value of each row of a frame of the same layer, int64."""
        if self.field is None:
            return np.ones(len(features), np.int64)
        column = features[self.field]
        if self.numbers is not None:
            return np.array([self.numbers[str(text)] for text in column], np.int64)
        return np.asarray(pandas.to_numeric(column).astype(np.int64))


def class_table(attributes: Any, field: str | None, *, negative: bool = False) -> ClassTable:
    """The classes of a layer, read from the attributes of all its features.

    A text field numbers its sorted texts 1, 2, 3 and keeps them as names, unless every text is a whole
    number. A number field keeps its values; a field ``classname`` or ``name`` gives their names where it
    says one name for each value.

    Parameters
    ----------
    attributes
        Data frame with a row for each feature; a geometry column is ignored.
    field
        The class field. None takes ``classvalue`` or ``value`` in any case; without one, every feature
        is of class 1, named "1".
    negative
        Whether values may be any whole numbers of 32 bits: what is not burned into masks can have them.

    Raises
    ------
    LabelError
        If the field is absent (the message lists the fields), empty for some features, or holds numbers
        or a number of texts that cannot be classes.

    References
    ----------
    "Formats", 1.5: classvalue_field.
    """
    found = find_class_field(list(attributes.columns), field)
    return class_table_of([attributes], found, negative=negative)


def class_table_of(blocks: Iterable[Any], field: str | None, *, negative: bool = False) -> ClassTable:
    """The classes of a layer whose attributes come in blocks; see :func:`class_table`.

    Parameters
    ----------
    field
        The class field in the layer's own spelling. None: every feature is of class 1.
    """
    if field is None:
        return ClassTable(None, (ClassInfo(1, "1", default_color(0)),), None)
    rows = _distinct(blocks, field)
    column = rows[field]
    if _is_text(column):
        names = sorted({str(text) for text in column})
        infos = (ClassInfo(n + 1, name, default_color(n)) for n, name in enumerate(names))
        return ClassTable(field, tuple(infos), {name: n + 1 for n, name in enumerate(names)})
    numbers = _whole_numbers(column, field, negative=negative)
    values = sorted({int(value) for value in numbers})
    known = _names(rows, numbers)
    infos = (
        ClassInfo(value, known.get(value, str(value)), default_color(i)) for i, value in enumerate(values)
    )
    return ClassTable(field, tuple(infos), None)


def classes_of_features(features: Any, field: str | None) -> tuple[tuple[ClassInfo, ...], np.ndarray]:
    """The classes of a GeoDataFrame and the class value of each feature; see :func:`class_table`."""
    table = class_table(features, field)
    return table.classes, table.values_of(features)


def find_class_field(fields: Sequence[str], field: str | None) -> str | None:
    """The class field among a layer's fields, in the layer's own spelling.

    Raises
    ------
    LabelError
        If a field is asked for and absent.
    """
    if field in fields:
        return field
    wanted = VALUE_FIELDS if field is None else (field.lower(),)
    for name in wanted:
        for known in fields:
            if str(known).lower() == name:
                return known
    if field is None:
        return None
    known_fields = ", ".join(str(name) for name in fields if name != "geometry") or "none at all"
    raise LabelError(f"the labels have no field {field!r}: their fields are {known_fields}.")


def _is_text(column: Any) -> bool:
    if pandas.api.types.is_numeric_dtype(column):
        return False
    try:
        numbers = pandas.to_numeric(column)
    except (ValueError, TypeError):
        return True
    return bool((numbers % 1 != 0).any())


def _distinct(blocks: Iterable[Any], field: str) -> Any:
    """The distinct values of the class field, with the names that other fields give to each.

    A field that gives two names to a value, or none to some feature, names no classes and is dropped at
    once: it may hold another text for every feature.
    """
    rows, dropped, missing = None, {field}, 0
    for block in blocks:
        names = [n for n in block.columns if str(n).lower() in NAME_FIELDS and n not in dropped]
        empty = block[field].isna()
        missing += int(empty.sum())
        dropped |= {name for name in names if block[name].isna().any()}
        part = _once(block[~empty], field, dropped)
        if rows is not None:
            part = _once(pandas.concat([rows, part]) if len(part) else rows, field, dropped)
        for name in [n for n in part.columns if n != field]:
            pairs = part[[field, name]].drop_duplicates()
            if len(pairs) > pairs[field].nunique():
                dropped.add(name)
        rows = _once(part, field, dropped)
        if len(rows) > MAX_VALUE:
            raise LabelError(
                f"field {field!r} holds more than {MAX_VALUE} different values, so it cannot say the class "
                "of a feature: choose the field that does."
            )
    if missing:
        raise LabelError(f"{missing} features have no value in field {field!r}: fill it, or leave them out.")
    return pandas.DataFrame({field: np.zeros(0, np.int64)}) if rows is None else rows


def _once(rows: Any, field: str, dropped: set[str]) -> Any:
    kept = [n for n in rows.columns if n == field or (str(n).lower() in NAME_FIELDS and n not in dropped)]
    return rows[kept].drop_duplicates()


def _whole_numbers(column: Any, field: str, *, negative: bool) -> np.ndarray:
    numbers = np.asarray(pandas.to_numeric(column), np.float64)
    least, most = (-(2**31), 2**31 - 1) if negative else (0, MAX_VALUE)
    wrong = numbers[~np.isfinite(numbers) | (numbers % 1 != 0) | (numbers < least) | (numbers > most)]
    if wrong.size:
        raise LabelError(
            f"field {field!r} holds {wrong[0]:g}, which cannot be a class value: "
            f"use whole numbers from {least} to {most}, or a text field."
        )
    return numbers.astype(np.int64)


def _names(attributes: Any, numbers: np.ndarray) -> dict[int, str]:
    """Names of the values from a sibling field, empty unless value and name go one to one."""
    for field in attributes.columns:
        if str(field).lower() not in NAME_FIELDS or attributes[field].isna().any():
            continue
        pairs = {(int(value), str(name)) for value, name in zip(numbers, attributes[field], strict=True)}
        names = dict(pairs)
        if len(names) == len(pairs) == len(set(names.values())):
            return names
    return {}
