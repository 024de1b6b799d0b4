"""The export's settings, checked before anything is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.context import parse_context

CHIP_FORMATS = ("ZARR",)
METADATA_FORMATS = ("Classified_Tiles",)
REFERENCE_SYSTEMS = ("MAP_SPACE", "IMAGE_SPACE", "PIXEL_SPACE")
CONTEXT_KEYS = frozenset({"exportAllTiles", "startIndex", "cellSize", "extent", "outSR"})

DEFAULT_TILE = 256

_ELSEWHERE: Mapping[str, tuple[Any, str]] = {
    "buffer_radius": (None, "buffer point features first, with GeoDataFrame.buffer"),
    "rotation_angle": (0, "turn chips while training, which prepare_data does by itself"),
    "process_all_raster_items": (False, "call once for each raster and train on the list of stores"),
    "blacken_around_feature": (False, "it belongs to Labeled_Tiles"),
    "fix_chip_size": (True, "it belongs to Labeled_Tiles; chips of a store are all of one size"),
    "additional_input_raster": (
        None,
        "it belongs to pairs of images; stack the rasters' bands into one raster",
    ),
    "input_instance_data": (None, "it belongs to Panoptic_Segmentation"),
    "instance_class_value_field": (None, "it belongs to Panoptic_Segmentation"),
    "min_polygon_overlap_ratio": (0, "it belongs to formats that list objects; filter the features first"),
    "future": (False, "run the call in a thread, with concurrent.futures"),
    "estimate": (False, "try the call on a small extent and scale by area"),
}
"""Parameters whose other values mean something for other formats only: usual value, and the way around."""


@dataclass(frozen=True)
class ExportSettings:
    """What the caller asked for, in its final form."""

    tile: tuple[int, int]
    """Height and width of a chip in pixels."""
    stride: tuple[int, int]
    """Rows and columns from one chip to the next."""
    reference_system: str
    context: Mapping[str, Any]
    """Only known keys."""
    all_tiles: bool
    start_index: int


def check_settings(
    *,
    tile_size: Any,
    stride_size: Any,
    chip_format: str | None,
    metadata_format: str | None,
    reference_system: str,
    context: Mapping[str, Any] | None,
    others: Mapping[str, Any],
    unknown: Mapping[str, Any],
) -> ExportSettings:
    """The settings of an export, checked.

    Parameters
    ----------
    others
        Parameters that only other formats know, by name.
    unknown
        Keyword arguments that no format knows.

    Raises
    ------
    SettingError
        If a value cannot work. The message says which would.
    """
    if unknown:
        raise SettingError(f"export_training_data has no argument {sorted(unknown)[0]!r}: see its signature.")
    _one_of("chip_format", chip_format, (None, *CHIP_FORMATS))
    _one_of("metadata_format", metadata_format, (None, *METADATA_FORMATS))
    _one_of("reference_system", reference_system, REFERENCE_SYSTEMS)
    _refuse_elsewhere(others)
    known = parse_context(context, allowed=CONTEXT_KEYS)
    tile = _size("tile_size", tile_size, (DEFAULT_TILE, DEFAULT_TILE))
    return ExportSettings(
        tile=tile,
        stride=_size("stride_size", stride_size, tile),
        reference_system=reference_system,
        context=known,
        all_tiles=_flag(known.get("exportAllTiles", False)),
        start_index=_index(known.get("startIndex", 0)),
    )


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        names = ", ".join(repr(one) for one in known)
        raise SettingError(f"{name}={value!r} cannot be exported: {names} work.")


def _refuse_elsewhere(others: Mapping[str, Any]) -> None:
    if others.get("gis") is not None:
        raise SettingError("gis takes only None: client= (a Dask client) says where the export runs.")
    for name, (usual, instead) in _ELSEWHERE.items():
        value = others[name]
        if value is usual or (not callable(value) and isinstance(value, int | float) and value == usual):
            continue
        raise SettingError(
            f"{name} has no effect on Classified_Tiles in the Zarr store, the format that is exported here: "
            f"leave it at {usual!r}; {instead}."
        )


def _size(name: str, value: Any, usual: tuple[int, int]) -> tuple[int, int]:
    """Height and width from ``{"x": width, "y": height}`` or one number."""
    if value is None:
        return usual
    sides: tuple[Any, Any] = (value, value)
    if isinstance(value, Mapping):
        sides = (value.get("y"), value.get("x")) if set(value) == {"x", "y"} else (None, None)
    height, width = sides
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides):
        raise SettingError(f'{name}={value!r} cannot work: give pixels as {{"x": 256, "y": 256}} or 256.')
    return height, width


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"exportAllTiles={value!r} cannot work: give True or False.")
    return value


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SettingError(f"startIndex={value!r} cannot work: give a whole number, 0 or more.")
    return value
