"""The export's settings, checked before anything is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.chips.splits import Split, check_split
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.store.kinds import KINDS, Kind, kind_of

STORE = "ZARR"
"""The chip format that is a store; the others are folders of files."""
CHIP_FORMATS = (STORE, "TIFF", "PNG", "JPEG", "MRF")
REFERENCE_SYSTEMS = ("MAP_SPACE", "IMAGE_SPACE", "PIXEL_SPACE")
CONTEXT_KEYS = frozenset({"exportAllTiles", "startIndex", "cellSize", "extent", "outSR"})

DEFAULT_TILE = 256

CENTRED = ("Labeled_Tiles", "Imagenet")
"""Formats whose chips are centred on features, where the labels are features."""

_PAIRED = (*(name for name, kind in KINDS.items() if kind.pairs), "CycleGAN")
_UNLABELLED = ("Export_Tiles", "CycleGAN")
_PANOPTIC = ("Panoptic_Segmentation",)


@dataclass(frozen=True)
class ExportSettings:
    """What the caller asked for, in its final form."""

    metadata_format: str
    chip_format: str
    """One of ``CHIP_FORMATS``."""
    tile: tuple[int, int]
    """Height and width of a chip in pixels."""
    stride: tuple[int, int]
    """Rows and columns from one chip to the next."""
    reference_system: str
    context: Mapping[str, Any]
    """Only known keys."""
    all_tiles: bool
    start_index: int
    class_field: str | None = None
    instance_field: str | None = None
    buffer_radius: float | None = None
    """In units of the label layer's CRS."""
    angle: float = 0.0
    """Degrees from one turned chip to the next; 0 turns none."""
    min_share: float = 0.0
    """Least part of a feature's area that must lie in a chip, 0 to 1."""
    separate: bool = False
    """Whether each raster of a list or folder is cut by itself."""
    blacken: bool = False
    fixed_size: bool = True
    split: Split | None = None

    @property
    def kind(self) -> Kind:
        """Which parts the chips have."""
        return kind_of(self.metadata_format)

    @property
    def is_store(self) -> bool:
        return self.chip_format == STORE


def check_settings(given: Mapping[str, Any], unknown: Mapping[str, Any]) -> ExportSettings:
    """The settings of an export, checked.

    Parameters
    ----------
    given
        The arguments of :func:`rasterloom.pipeline.chips.export.export_training_data` by name.
    unknown
        Keyword arguments that no format knows.

    Raises
    ------
    SettingError
        If a value cannot work. The message says which would.
    LabelError
        If labels are missing that the format needs.
    """
    if unknown:
        raise SettingError(f"export_training_data has no argument {sorted(unknown)[0]!r}: see its signature.")
    if given["gis"] is not None:
        raise SettingError("gis takes only None: client= (a Dask client) says where the export runs.")
    _one_of("chip_format", given["chip_format"], (None, *CHIP_FORMATS))
    _one_of("metadata_format", given["metadata_format"], (None, *KINDS))
    _one_of("reference_system", given["reference_system"], REFERENCE_SYSTEMS)
    usual = "Export_Tiles" if given["input_class_data"] is None else "Classified_Tiles"
    name = given["metadata_format"] or usual
    if given["input_class_data"] is None and name not in _UNLABELLED:
        raise LabelError(
            f"input_class_data is missing, and {name} chips need it: give the path of a vector file, a "
            "GeoDataFrame, or a class raster."
        )
    chip_format = given["chip_format"] or STORE
    known = parse_context(given["context"], allowed=CONTEXT_KEYS)
    tile = _size("tile_size", given["tile_size"], (DEFAULT_TILE, DEFAULT_TILE))
    settings = ExportSettings(
        metadata_format=name,
        chip_format=chip_format,
        tile=tile,
        stride=_size("stride_size", given["stride_size"], tile),
        reference_system=given["reference_system"],
        context=known,
        all_tiles=_flag("exportAllTiles", known.get("exportAllTiles", False)),
        start_index=_index(known.get("startIndex", 0)),
        class_field=given["classvalue_field"],
        instance_field=given["instance_class_value_field"],
        buffer_radius=_radius(given["buffer_radius"]),
        angle=_angle(given["rotation_angle"]),
        min_share=_share("min_polygon_overlap_ratio", given["min_polygon_overlap_ratio"]),
        separate=_flag("process_all_raster_items", given["process_all_raster_items"]),
        blacken=_flag("blacken_around_feature", given["blacken_around_feature"]),
        fixed_size=_flag("fix_chip_size", given["fix_chip_size"]),
        split=check_split(given["split"], given["split_block_size"], given["seed"], tile),
    )
    _check_together(settings, given)
    return settings


def _check_together(settings: ExportSettings, given: Mapping[str, Any]) -> None:
    name = settings.metadata_format
    _belongs("additional_input_raster", given["additional_input_raster"], None, name, _PAIRED)
    _belongs("input_instance_data", given["input_instance_data"], None, name, _PANOPTIC)
    _belongs("instance_class_value_field", settings.instance_field, None, name, _PANOPTIC)
    _belongs("blacken_around_feature", settings.blacken, False, name, CENTRED)
    _belongs("fix_chip_size", settings.fixed_size, True, name, CENTRED)
    if name in _PANOPTIC and given["input_instance_data"] is None:
        raise LabelError(
            f"input_instance_data is missing, and {name} chips need it: give the features, or the raster of "
            "numbered objects, that become the instances."
        )
    if not settings.fixed_size and settings.is_store:
        raise SettingError(
            "fix_chip_size=False makes chips of many sizes, and those of a store are all of one: choose a "
            'folder, with chip_format="TIFF" say.'
        )
    if given["input_class_data"] is None:
        for argument in ("classvalue_field", "buffer_radius", "min_polygon_overlap_ratio"):
            if given[argument] not in (None, 0):
                raise SettingError(f"{argument} says how labels are read: give input_class_data too.")


def _belongs(argument: str, value: Any, usual: Any, name: str, formats: tuple[str, ...]) -> None:
    if value is not usual and name not in formats:
        raise SettingError(
            f"{argument} has no effect on {name} chips: leave it at {usual!r}, or choose metadata_format "
            f"{' or '.join(formats)}."
        )


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        names = ", ".join(repr(one) for one in known)
        raise SettingError(f"{name}={value!r} cannot be exported: {names} work.")


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


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise SettingError(f"{name}={value!r} cannot work: give True or False.")
    return value


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SettingError(f"startIndex={value!r} cannot work: give a whole number, 0 or more.")
    return value


def _number(name: str, value: Any, works: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SettingError(f"{name}={value!r} cannot work: give {works}.")
    return float(value)


def _radius(value: Any) -> float | None:
    if value is None:
        return None
    radius = _number("buffer_radius", value, "a number above 0")
    if radius <= 0:
        raise SettingError(f"buffer_radius={value!r} cannot work: give a number above 0.")
    return radius


def _angle(value: Any) -> float:
    works = "0 for none, or degrees from 1 to below 360"
    angle = _number("rotation_angle", value, works)
    if angle and not 1 <= angle < 360:
        raise SettingError(f"rotation_angle={value!r} cannot work: give {works}.")
    return angle


def _share(name: str, value: Any) -> float:
    share = _number(name, value, "a number from 0 to 1")
    if not 0 <= share <= 1:
        raise SettingError(f"{name}={value!r} cannot work: give a number from 0 to 1.")
    return share
