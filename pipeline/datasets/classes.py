"""Class values of the labels as positions among a network's outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError, StoreError

DROPPED = -1
"""Position of what is left out."""


@dataclass(frozen=True)
class Remapping:
    """Changes of class values before training, in this order."""

    remap: Mapping[int, int] | None = None
    """New value of a value; others stay."""
    interest: tuple[int, ...] | None = None
    """New values that matter; chips without any of them are left out."""
    background: int | bool | None = None
    """Value that the classes of no interest get; True or 0 makes them background, None leaves them."""

    def of(self, value: int) -> int | None:
        """The new value; None for what becomes background."""
        new = int((self.remap or {}).get(value, value))
        if self.interest is None or new in self.interest or self.background is None:
            return new
        return None if self.background is True or self.background == 0 else int(self.background)


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Where each class value stands among the outputs."""

    classes: tuple[ClassInfo, ...]
    """The classes that are trained on, in ascending value."""
    values: np.ndarray
    """(k,) class values of the labels, ascending."""
    positions: np.ndarray
    """(k,) output position of each; -1 for what is left out."""
    interest: np.ndarray
    """(k,) whether a chip with this value is kept."""

    def of(self, values: np.ndarray) -> np.ndarray:
        """Output positions of some values, -1 for those that are left out or unknown."""
        place = np.searchsorted(self.values, values).clip(max=len(self.values) - 1)
        return np.where(self.values[place] == values, self.positions[place], DROPPED)

    def of_columns(self, labels: np.ndarray) -> np.ndarray:
        """Whether each trained class occurs, (n, K) uint8, from the same of each class of the labels."""
        found = np.zeros((len(labels), len(self.classes)), np.uint8)
        for column, position in enumerate(self.positions):
            if position >= 0:
                found[:, position] |= labels[:, column] > 0
        return found

    @property
    def lookup(self) -> np.ndarray:
        """(largest value + 1,) position of every mask value, uint8 up to 256 outputs and int16 above."""
        table = np.zeros(int(self.values.max()) + 1, np.uint8 if self.positions.max() < 256 else np.int16)
        table[self.values] = np.maximum(self.positions, 0)
        return table


def pixel_table(
    classes: Sequence[ClassInfo],
    changes: Remapping,
    names: Mapping[int, str] | None,
    class_pixels: Mapping[int, int],
) -> ClassTable:
    """For masks: position 0 is what has no class, the classes follow in ascending value.

    Raises
    ------
    StoreError
        If the masks hold values that are no classes, or no class is left.
    SettingError
        If the changes or names cannot work.
    """
    values = sorted({0, *(c.value for c in classes)})
    strange = sorted(v for v, pixels in class_pixels.items() if pixels and v not in values)
    if strange:
        raise StoreError(
            f"the masks hold values {strange[:10]} that are no classes of the store ({values}): "
            "export the chips again."
        )
    new = {value: changes.of(value) or 0 for value in values}
    if min(new.values()) < 0:
        raise SettingError("remap_classes gives masks a value below 0: use values from 0 to 65535.")
    left = _changed(classes, {value: new[value] for value in values}, names, changes)
    if not any(c.value != 0 for c in left):
        raise StoreError("the chips name no class above 0: export them again, with labels.")
    outputs = (0, *(c.value for c in left if c.value != 0))
    return _table(left, new, {value: place for place, value in enumerate(outputs)}, changes)


def label_table(
    classes: Sequence[ClassInfo], changes: Remapping, names: Mapping[int, str] | None, *, first: int
) -> ClassTable:
    """For objects and chip labels: the classes in ascending value.

    Parameters
    ----------
    first
        Position of the first class: 1 where 0 is background, else 0.

    Raises
    ------
    StoreError
        If no class is left.
    SettingError
        If the changes or names cannot work.
    """
    new = {c.value: changes.of(c.value) for c in classes}
    left = _changed(classes, new, names, changes)
    if not left:
        raise StoreError("the chips name no class: export them again, with labels.")
    return _table(left, new, {c.value: first + place for place, c in enumerate(left)}, changes)


def _table(
    left: tuple[ClassInfo, ...],
    new: Mapping[int, int | None],
    place: Mapping[int, int],
    changes: Remapping,
) -> ClassTable:
    values = sorted(new)
    fresh = [new[value] for value in values]
    wanted = [changes.interest is None or value in changes.interest for value in fresh]
    positions = [DROPPED if value is None else place[value] for value in fresh]
    return ClassTable(left, np.array(values, np.int64), np.array(positions, np.int64), np.array(wanted))


def _changed(
    classes: Sequence[ClassInfo],
    new: Mapping[int, int | None],
    names: Mapping[int, str] | None,
    changes: Remapping,
) -> tuple[ClassInfo, ...]:
    """The classes under their new values: of several that become one, the one that had the value before."""
    _check_known("remap_classes", changes.remap or {}, set(new))
    known = {c.value: c for c in classes}
    left: dict[int, ClassInfo] = {}
    for value, fresh in sorted(new.items()):
        if fresh is not None and value in known and (fresh != 0 or 0 in known):
            left.setdefault(fresh, known.get(fresh, replace(known[value], value=fresh)))
    _check_known("classes_of_interest", changes.interest or (), set(left))
    _check_known("class_mapping", names or {}, set(left))
    given = {int(value): str(name) for value, name in (names or {}).items()}
    return tuple(replace(left[v], name=given.get(v, left[v].name)) for v in sorted(left))


def _check_known(setting: str, given: Sequence[int] | Mapping[int, object], known: set[int]) -> None:
    unknown = sorted({int(value) for value in given} - known)
    if unknown:
        raise SettingError(
            f"{setting} names {unknown}, which are no classes of the chips: they are {sorted(known)}."
        )
