"""Read and write esri_model_definition.emd: what a model that is trained on a folder has to know."""

from collections.abc import Mapping, Sequence
from typing import Any

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.description import Description
from rasterloom.pipeline.formats.statistics_files import cell_sizes, raster_properties
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.rasters.statistics import BandStats

DEFINITION = "esri_model_definition.emd"
INSTANCES = "Panoptic_Segmentation_Instance_Classes"

_KNOWN_BANDS = "WellKnownBandNames (FYI, these band names can be used in ExtractBands)"
_BAND_NAMES = [
    "Red",
    "Green",
    "Blue",
    "Infrared",
    "CoastalBlue",
    "Yellow",
    "RedEdge",
    "ShortWaveInfrared",
    "NearInfrared",
    "NearInfrared_1",
    "NearInfrared_2",
    "MidInfrared",
    "MidInfrared_1",
    "MidInfrared_2",
    "Thermal",
    "Thermal_1",
    "Thermal_2",
    "Panchromatic",
    "PseudoRed",
    "PseudoGreen",
    "PseudoBlue",
    "QA",
]


def definition(about: Description, *, variable: bool) -> dict[str, Any]:
    """The content of esri_model_definition.emd.

    Parameters
    ----------
    variable
        Whether chips are of several sizes.

    References
    ----------
    "Formats", 1.3.
    """
    spec = about.spec
    plain: dict[str, Any] = {
        "ImageHeight": spec.tile[0],
        "ImageWidth": spec.tile[1],
        "MetaDataMode": spec.metadata_format,
        "BlackenAroundFeature": bool(spec.parameters.get("blacken_around_feature", False)),
        "IsMultidimensional": False,
        "CropTileMode": "Variable_Size" if variable else "Fixed_Size",
        "ImageSpaceUsed": str(spec.parameters.get("reference_system", "MAP_SPACE")),
        **cell_sizes(spec),
        "Classes": _classes(spec.classes),
    }
    if spec.metadata_format == "Panoptic_Segmentation":
        plain[INSTANCES] = _classes(spec.object_classes)
    plain["InputRastersProps"] = raster_properties(spec, spec.bands)
    plain["AllTilesStats"] = _tile_stats(spec.bands, about.stats)
    if spec.bands2 and about.stats2 is not None:
        plain["InputRastersProps2"] = raster_properties(spec, spec.bands2)
        plain["AllTilesStats2"] = _tile_stats(spec.bands2, about.stats2)
    plain[_KNOWN_BANDS] = _BAND_NAMES
    return plain


def read_classes(plain: Mapping[str, Any], key: str = "Classes") -> tuple[ClassInfo, ...]:
    """The classes of a definition or of accumulated statistics, in ascending value.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    listed = plain.get(key)
    if not isinstance(listed, list):  # a text is a hint to whoever fills in the file
        return ()
    found = {}
    try:
        for position, one in enumerate(listed):
            value = int(one["Value"] if "Value" in one else one["ClassValue"])
            name = str(one.get("Name", one.get("ClassName", value)))
            found[value] = ClassInfo(value, name, _color(one.get("Color"), position))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{key} of the folder's definition cannot be read ({error!r}): mend it.") from error
    return tuple(found[value] for value in sorted(found))


def read_band_names(plain: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The band names of ``InputRastersProps``, empty where they are not listed."""
    properties = plain.get(key)
    names = properties.get("BandNames") if isinstance(properties, Mapping) else None
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def read_size(plain: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of the chips, where they are numbers and no hints."""
    height, width = plain.get("ImageHeight"), plain.get("ImageWidth")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return height, width
    return None


def read_tile_stats(plain: Mapping[str, Any], key: str, bands: int, pixels: int) -> BandStats | None:
    """The statistics of ``AllTilesStats`` as those of so many pixels; None where there are none."""
    listed = plain.get(key)
    if not isinstance(listed, list) or len(listed) != bands or pixels < 1:
        return None
    try:
        columns = [tuple(float(one[name]) for one in listed) for name in ("Min", "Max", "Mean", "StdDev")]
    except (KeyError, TypeError, ValueError):
        return None
    return BandStats(pixels, columns[0], columns[1], columns[2], tuple(s * s * pixels for s in columns[3]))


def _classes(classes: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    return [{"Value": c.value, "Name": c.name, "Color": list(c.color)} for c in classes]


def _color(given: Any, position: int) -> tuple[int, int, int]:
    usual = default_color(position)
    if not isinstance(given, list) or len(given) != 3:
        return usual
    if not all(isinstance(part, int | float) and 0 <= part <= 255 for part in given):  # [-1, -1, -1]: none
        return usual
    red, green, blue = (int(part) for part in given)
    return red, green, blue


def _tile_stats(bands: Sequence[str], stats: BandStats) -> list[dict[str, Any]]:
    return [
        {
            "BandName": name,
            "Min": stats.minimum[i] if stats.count else 0.0,
            "Max": stats.maximum[i] if stats.count else 0.0,
            "Mean": stats.mean[i],
            "StdDev": stats.std[i],
        }
        for i, name in enumerate(bands)
    ]
