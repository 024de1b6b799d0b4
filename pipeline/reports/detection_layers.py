"""Detections and ground truth as arrays, on one ground and with one set of classes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import shapely

from rasterloom.models.errors import CrsError, LabelError, SettingError
from rasterloom.pipeline.labels.classes import VALUE_FIELDS
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.grid import same_crs

SCORE_FIELDS = ("confidence", "score", "confidence_score")
"""Names of fields that say how certain a detection is, in any case."""

_NAMES = ("class", "classname")
"""Names of fields that name a class, in any case. Name is none of them: it may be a feature's own."""

_SHOWN = 12
"""Fields that a message lists."""

ONE_CLASS = "object"
"""What all are called where nothing tells classes apart."""


@dataclass(frozen=True, eq=False)
class ObjectLayer:
    """The objects of one layer, in file order."""

    source: FeatureSource
    boxes: np.ndarray
    """(n, 4) float64, bounding boxes in the CRS of the detections; nan for what has no area."""
    labels: np.ndarray
    """(n,) int32, position in the list of classes, from 1."""
    scores: np.ndarray | None
    """(n,) float64; None where nothing tells how certain they are."""
    inside: np.ndarray
    """(n,) of bool: completely within the ground that counts."""
    shapes: np.ndarray | None
    """(n,) WKB, where outlines are compared."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Fields:
    """Where both layers keep what is compared."""

    detected: str | None
    truth: str | None
    """Class fields; None where all objects are of one class."""
    name: str | None
    """Field of the detections that names what their class field numbers."""
    score: str | None

    @classmethod
    def of(
        cls,
        detected: FeatureSource,
        truth: FeatureSource,
        *,
        detected_field: str | None,
        truth_field: str | None,
        score_field: str | None,
    ) -> "Fields":
        """Find them: those that are named, else fields of values in both layers, else of names in both.

        Raises
        ------
        LabelError
            If a field is named and absent.
        """
        ours, theirs = _asked(detected, detected_field), _asked(truth, truth_field)
        for names in (VALUE_FIELDS, _NAMES):
            if ours is None and theirs is None:
                pair = _first(detected, names), _first(truth, names)
                ours, theirs = pair if None not in pair else (None, None)
        if ours is None and theirs is not None:
            ours = _first(detected, (theirs.lower(), *VALUE_FIELDS, *_NAMES))
        elif theirs is None and ours is not None:
            theirs = _first(truth, (ours.lower(), *VALUE_FIELDS, *_NAMES))
        if ours is None or theirs is None:
            _tell_of_bare(detected, truth)
            ours = theirs = None
        name = _first(detected, _NAMES) if ours is not None else None
        score = _asked(detected, score_field) if score_field else _first(detected, SCORE_FIELDS)
        return cls(ours, theirs, None if name == ours else name, score)


@dataclass(frozen=True, eq=False)
class Ground:
    """Where objects are, and which part of that counts."""

    crs: str | None
    """WKT of the detections."""
    area: Any = None
    """Prepared shapely geometry of the part; None for all."""

    @classmethod
    def of(cls, detected: FeatureSource, masks: Any, extent: Any) -> "Ground":
        """The ground of the detections, cut to polygons and to an extent.

        Parameters
        ----------
        masks
            A vector layer; None for none.
        extent
            A shapely box in the CRS of the detections; None for none.

        Raises
        ------
        LabelError
            If the masks hold no polygon, or the two have nothing in common.
        """
        ground = cls(detected.crs)
        if masks is None and extent is None:
            return ground
        area = extent
        if masks is not None:
            outline = ground._outline(FeatureSource.of(masks))
            area = outline if extent is None else shapely.intersection(outline, extent)
        if shapely.area(area) == 0:
            raise LabelError("mask_features and the extent leave no ground to assess: give ones that meet.")
        shapely.prepare(area)
        return cls(detected.crs, area)

    def brought(self, source: FeatureSource, geometries: np.ndarray) -> np.ndarray:
        """Geometries of a layer on this ground.

        Raises
        ------
        CrsError
            If they cannot be brought here.
        """
        if self.crs is None or source.crs is None:
            if self.crs != source.crs:
                bare, known = (
                    ("the detections", source.name) if self.crs is None else (source.name, "the detections")
                )
                raise CrsError(
                    f"{bare} has no coordinate reference system and {known} has one: set it with "
                    "GeoDataFrame.set_crs('EPSG:...') or ogr2ogr -a_srs."
                )
            return geometries
        if same_crs(self.crs, source.crs):
            return geometries
        try:
            moved = geopandas.GeoSeries(geometries, crs=source.crs).to_crs(self.crs)
        except (RuntimeError, ValueError) as error:
            raise CrsError(f"{source.name} cannot be brought into the detections' CRS: {error}") from error
        return np.asarray(moved.array, object)

    def holds(self, geometries: np.ndarray) -> np.ndarray:
        """(n,) whether each geometry lies completely on the part that counts."""
        if self.area is None:
            return np.ones(len(geometries), bool)
        return np.asarray(shapely.covers(self.area, geometries), bool)

    def _outline(self, source: FeatureSource) -> Any:
        found = []
        for block in source.blocks([]):
            polygons = self.brought(source, block.geometry)
            polygons = polygons[shapely.get_dimensions(polygons) == 2]
            found.extend(shapely.make_valid(polygons))
        if not found:
            raise LabelError(
                f"mask_features: {source.name} has no polygons; give the outlines of the ground."
            )
        return shapely.union_all(found)


def read_objects(
    source: FeatureSource,
    ground: Ground,
    classes: "ClassKeys",
    *,
    field: str | None,
    name: str | None = None,
    score: str | None = None,
    outlines: bool = False,
) -> ObjectLayer:
    """Read a layer in one pass.

    Raises
    ------
    LabelError
        If a feature has no class, or a score is no number.
    """
    columns = [each for each in dict.fromkeys((field, name, score)) if each is not None]
    boxes, labels, scores, inside, shapes = [np.zeros((0, 4))], [], [], [np.zeros(0, bool)], []
    for block in source.blocks(columns):
        geometries = ground.brought(source, flat(block.geometry))
        sides = shapely.bounds(geometries)
        sides[~(shapely.area(geometries) > 0)] = np.nan
        boxes.append(sides)
        inside.append(ground.holds(geometries) & ~np.isnan(sides[:, 0]))
        labels.append(
            classes.numbers(
                source,
                None if field is None else block.columns[field],
                len(block),
                block.columns.get(name or ""),
            )
        )
        if score is not None:
            scores.append(_numbers(source, score, block.columns[score]))
        if outlines:
            shapes.append(shapely.to_wkb(geometries))
    return ObjectLayer(
        source,
        np.concatenate(boxes),
        np.concatenate([np.zeros(0, np.int32), *labels]),
        None if score is None else np.concatenate([np.zeros(0), *scores]),
        np.concatenate(inside),
        np.concatenate([np.zeros(0, object), *shapes]) if outlines else None,
    )


class ClassKeys:
    """The classes that occur, in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[str, str] = {}

    @property
    def keys(self) -> list[str]:
        """What the layers say, of class 1, 2, .."""
        return list(self._numbers)

    def names(self) -> list[str]:
        """The name of class 1, 2, ..: where two share a name, also what tells them apart."""
        named = [self._names.get(key, key) for key in self._numbers]
        return [
            name if named.count(name) == 1 else f"{name} ({key})"
            for name, key in zip(named, self._numbers, strict=True)
        ]

    def numbers(
        self, source: FeatureSource, values: np.ndarray | None, count: int, names: np.ndarray | None = None
    ) -> np.ndarray:
        """(n,) int32 class of each feature, from 1.

        Raises
        ------
        LabelError
            If one has none.
        """
        if values is None:
            return np.full(count, self._number(ONE_CLASS), np.int32)
        kinds, first, places = np.unique(_texts(values), return_index=True, return_inverse=True)
        if "" in kinds[:1].tolist():
            missing = int((places == 0).sum())
            raise LabelError(
                f"{missing} of {count} features of a block of {source.name} have no class: give each one, or "
                "leave them out."
            )
        for kind, row in zip(kinds.tolist(), first.tolist(), strict=True):
            if names is not None and kind not in self._names and _texts(names[row : row + 1])[0]:
                self._names[kind] = str(names[row])
        numbers = np.array([self._number(kind) for kind in kinds.tolist()], np.int32)
        return numbers[places] if count else np.zeros(0, np.int32)

    def _number(self, key: str) -> int:
        return self._numbers.setdefault(key, len(self._numbers) + 1)


def check_classes(detected: ObjectLayer, truth: ObjectLayer, keys: Sequence[str], fields: Fields) -> None:
    """Say which classes only one side has.

    Raises
    ------
    LabelError
        If no class is in both layers, and both have objects.
    """
    ours = {keys[number - 1] for number in np.unique(detected.labels).tolist()}
    theirs = {keys[number - 1] for number in np.unique(truth.labels).tolist()}
    if not ours or not theirs:
        return
    if not ours & theirs:
        raise LabelError(
            f"no class is in both layers: field {fields.detected!r} of {detected.source.name} holds "
            f"{sorted(ours)} and field {fields.truth!r} of {truth.source.name} {sorted(theirs)}. Name fields "
            "that hold the same values or names."
        )
    if missed := sorted(theirs - ours):
        warnings.warn(
            f"{missed} are classes of the truth of which nothing was detected: each of their objects counts "
            "as a miss.",
            stacklevel=4,
        )
    if extra := sorted(ours - theirs):
        warnings.warn(
            f"{extra} are detected classes that the truth does not have: each of their detections counts as "
            "wrong.",
            stacklevel=4,
        )


def flat(geometries: np.ndarray) -> np.ndarray:
    """Geometries without Z."""
    # copying them takes as long as reading them, and most have none
    return shapely.force_2d(geometries) if shapely.has_z(geometries).any() else geometries


def _tell_of_bare(detected: FeatureSource, truth: FeatureSource) -> None:
    """Warn where one layer tells classes apart and the other does not."""
    told = [_first(source, (*VALUE_FIELDS, *_NAMES)) is not None for source in (detected, truth)]
    if told[0] != told[1]:
        bare = truth if told[0] else detected
        warnings.warn(
            f"{bare.name} has no class field (its fields are {_listed(bare)}), so all objects count "
            "as of one class: name the field to tell classes apart.",
            stacklevel=5,
        )


def _listed(source: FeatureSource) -> str:
    """The fields, the first of them where they are many: OpenStreetMap has hundreds."""
    fields = list(source.fields)
    more = len(fields) - _SHOWN
    return ", ".join(fields[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _asked(source: FeatureSource, field: str | None) -> str | None:
    if field is None:
        return None
    if field in source.fields:
        return field
    found = _first(source, (field.lower(),))
    if found is None:
        raise LabelError(f"{source.name} has no field {field!r}: its fields are {_listed(source)}.")
    return found


def _first(source: FeatureSource, names: Sequence[str]) -> str | None:
    by_name: Mapping[str, str] = {field.lower(): field for field in reversed(list(source.fields))}
    return next((by_name[name] for name in names if name in by_name), None)


def _texts(values: np.ndarray) -> np.ndarray:
    """Values as text, whole numbers without a point; "" where there is none."""
    if values.dtype.kind == "f":
        kept = [("" if v != v else str(int(v)) if v == int(v) else str(v)) for v in values.tolist()]
    elif values.dtype.kind in "iub":
        return values.astype(np.str_)
    else:
        kept = ["" if value is None or value != value else _text(value) for value in values.tolist()]
    return np.array(kept, np.str_) if kept else np.zeros(0, np.str_)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value).strip()


def _numbers(source: FeatureSource, field: str, values: np.ndarray) -> np.ndarray:
    try:
        scores = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"field {field!r} of {source.name} holds {values[:1].tolist()}, which is no confidence: name a "
            "field of numbers."
        ) from error
    wrong = int(np.isnan(scores).sum())
    if wrong:
        raise LabelError(
            f"field {field!r} of {source.name} has {wrong} features without a confidence in one block: they "
            "cannot be ranked. Remove them, or name another confidence_score_field."
        )
    return scores
