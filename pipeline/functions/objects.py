"""Inference functions that make outlines of pixels."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.tiles import FunctionTile, TileFunction

_CLASS = ("class", "classname", "label")
_CONFIDENCE = ("confidence", "score")
GEOMETRY_TYPES = {1: "point", 2: "multipoint", 3: "line", 4: "polygon"}
"""What ``getGeometryType`` returns."""


@dataclass(frozen=True)
class Finding:
    """One thing that a function has found in a tile."""

    geometry: BaseGeometry
    """In pixels: x to the right, y down, from the upper-left corner of the tile without its padding. It may
    reach into the padding."""
    label: str | None
    """Its class, as the function calls it."""
    confidence: float | None
    """0..1."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Everything that the function says of it."""


class VectorFunction(TileFunction):
    """An inference function that finds things, as points, lines or outlines."""

    def fields(self) -> tuple[Mapping[str, Any], ...]:
        """Name, type and alias of each attribute. Raises PackageError if they cannot be read."""
        said = self.host.call_if_there("getFields")
        try:
            plain = json.loads(said) if isinstance(said, str) else (said or {})
            rows = plain.get("fields", ())
            return tuple({**row, "name": str(row["name"])} for row in rows)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PackageError(f"{self.source}: getFields cannot be read ({error!r}).") from error

    def geometry_type(self) -> str:
        """One of GEOMETRY_TYPES; polygons where the function does not say.

        Raises PackageError if it says something else.
        """
        said = self.host.call_if_there("getGeometryType")
        if said is None:
            return "polygon"
        if said not in GEOMETRY_TYPES:
            raise PackageError(f"{self.source}: getGeometryType says {said!r}: known are 1, 2, 3 and 4.")
        return GEOMETRY_TYPES[said]

    def run(self, tile: FunctionTile) -> list[Finding]:
        """What the function finds in a tile.

        Raises
        ------
        PackageError
            If it fails, or what it returns is no feature set.
        """
        found = self.host.call("vectorize", **self.blocks(tile))
        said = found.get("output_vectors") if isinstance(found, Mapping) else None
        if said is None:
            raise PackageError(f"{self.source}: vectorize returns no output_vectors.")
        try:
            plain = json.loads(said) if isinstance(said, str | bytes) else said
            return [_finding(feature) for feature in plain["features"]]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, shapely.GEOSException) as error:
            raise PackageError(f"{self.source}: its output_vectors cannot be read ({error!r}).") from error


def confidence_of(value: Any) -> float | None:
    """A confidence as a number from 0 to 1; None where there is none.

    Detectors give a number from 0 to 100, feature classifiers the text of a number from 0 to 1.

    Raises
    ------
    ValueError
        If it lies outside.
    """
    if value is None or value == "":
        return None
    number = float(value)
    share = number if isinstance(value, str) and number <= 1 else number / 100
    if not 0 <= share <= 1 or math.isnan(share):
        raise ValueError(f"a confidence of {value!r}")
    return share


def _finding(feature: Mapping[str, Any]) -> Finding:
    attributes = dict(feature.get("attributes") or {})
    folded = {str(name).lower(): value for name, value in attributes.items()}
    label = next((folded[name] for name in _CLASS if folded.get(name) is not None), None)
    score = next((folded[name] for name in _CONFIDENCE if name in folded), None)
    return Finding(
        _geometry(feature["geometry"]),
        None if label is None else str(label),
        confidence_of(score),
        attributes,
    )


def _geometry(plain: Mapping[str, Any]) -> BaseGeometry:
    if "rings" in plain:
        made = _of_rings(plain["rings"])
    elif "paths" in plain:
        lines = [shapely.LineString(_plane(path)) for path in plain["paths"]]
        made = lines[0] if len(lines) == 1 else shapely.MultiLineString(lines)
    elif "points" in plain:
        made = shapely.MultiPoint(_plane(plain["points"]))
    else:
        made = shapely.Point(float(plain["x"]), float(plain["y"]))
    if made.is_empty or not all(math.isfinite(bound) for bound in made.bounds):
        raise ValueError("a geometry without a place")
    return made


def _of_rings(rings: list[Any]) -> BaseGeometry:
    """The area inside an odd number of rings: holes and islands, whichever way round they are drawn."""
    area: BaseGeometry = shapely.Polygon()
    for ring in rings:
        area = area.symmetric_difference(shapely.make_valid(shapely.Polygon(_plane(ring))))
    return area


def _plane(points: list[Any]) -> list[tuple[float, float]]:
    return [(float(point[0]), float(point[1])) for point in points]
