"""The classes of some chips, and where each stands among the outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.classes import ClassTable, Remapping, label_table, pixel_table
from rasterloom.pipeline.datasets.form import Form
from rasterloom.pipeline.datasets.sources import ChipSource

_Names = Mapping[int, str] | None


@dataclass(frozen=True)
class ChipLabels:
    """Classes and their positions; nothing where chips have no labels."""

    classes: tuple[ClassInfo, ...] = ()
    table: ClassTable | None = None
    """Of masks or chip labels."""
    object_table: ClassTable | None = None
    pixels: Mapping[int, int] = field(default_factory=dict)
    """Mask pixels of each class value, 0 for no class."""

    @property
    def object_classes(self) -> tuple[ClassInfo, ...]:
        """Of objects where pixels have classes of their own."""
        return self.object_table.classes if self.table and self.object_table else ()


def chip_labels(source: ChipSource, form: Form, changes: Remapping, names: _Names) -> ChipLabels:
    """What the labels that a form reads stand for.

    Raises
    ------
    StoreError
        If no class is left, or masks hold values that are no classes.
    SettingError
        If the changes or names do not fit the classes.
    """
    if form.parts >= {"masks", "objects"}:
        return _of_both(source, changes, names)
    if "masks" in form.parts:
        table = pixel_table(source.classes, changes, names, source.class_pixels)
        return ChipLabels(table.classes, table, pixels=_pixels(table, source.class_pixels))
    if "objects" in form.parts:
        things = label_table(source.object_classes, changes, names, first=1)
        return ChipLabels(things.classes, object_table=things)
    if "labels" in form.parts:
        table = label_table(source.classes, changes, names, first=0)
        return ChipLabels(table.classes, table)
    if names:
        raise SettingError("class_mapping has no effect on these chips: they have no labels. Leave it out.")
    return ChipLabels()


def _of_both(source: ChipSource, changes: Remapping, names: _Names) -> ChipLabels:
    """Pixels and objects have classes of their own: each takes what is said of its values."""
    ground = {0, *(c.value for c in source.classes)}
    things = {c.value for c in source.object_classes}
    said = {*(changes.remap or {}), *(changes.interest or ()), *(names or {})}
    reached = {*ground, *things, *(changes.remap or {}).values()}
    if said - reached:
        known = sorted(ground | things)
        raise SettingError(f"values {sorted(said - reached)} are no classes of the chips: they are {known}.")
    table = pixel_table(
        source.classes, _about(changes, ground), _names(changes, names, ground), source.class_pixels
    )
    object_table = label_table(
        source.object_classes, _about(changes, things), _names(changes, names, things), first=1
    )
    return ChipLabels(table.classes, table, object_table, _pixels(table, source.class_pixels))


def _about(changes: Remapping, values: set[int]) -> Remapping:
    remap = {old: new for old, new in (changes.remap or {}).items() if old in values}
    left = {remap.get(value, value) for value in values}
    interest = changes.interest
    return replace(
        changes, remap=remap, interest=None if interest is None else tuple(v for v in interest if v in left)
    )


def _names(changes: Remapping, names: _Names, values: set[int]) -> _Names:
    left = {changes.of(value) for value in values}
    return {value: name for value, name in (names or {}).items() if value in left}


def _pixels(table: ClassTable, class_pixels: Mapping[int, int]) -> dict[int, int]:
    outputs = (0, *(c.value for c in table.classes if c.value != 0))
    counts: dict[int, int] = {}
    for value, pixels in class_pixels.items():
        new = outputs[max(0, int(table.of(np.array(value))))]
        counts[new] = counts.get(new, 0) + pixels
    return dict(sorted(counts.items()))
