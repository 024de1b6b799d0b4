"""What the values of a class raster mean, and where their probabilities stand."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.shutil
from defusedxml import ElementTree

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.polygonize_plan import Certainty
from rasterloom.pipeline.rasters.gdal import FAILURES, open_source, reading
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster

_LISTED = "CLASSES"
"""Item of a class map's metadata that lists its classes."""

_NOTHING = ("background", "")


def class_names(raster: Raster) -> dict[int, str]:
    """Name of each class value, as far as the raster tells: from its list of classes, or its categories."""
    if raster.path is None:
        return {}
    try:
        with reading(remote=raster.remote), open_source(raster.path) as source:
            listed = source.tags().get(_LISTED)
            return _listed(listed) if listed else _categories(source)
    except FAILURES:
        return {}  # a raster without names is one, too; reading its pixels will tell what is wrong with it


def nothing_values(names: Mapping[int, str]) -> tuple[int, ...]:
    """Values that stand for no class, where classes have names: 0, unless it has one of its own."""
    return (0,) if names and names.get(0, "").strip().lower() in _NOTHING else ()


def certainty_of(
    source: Any, raster: Raster, names: Mapping[int, str], classes: Sequence[int] | None
) -> Certainty:
    """Which band of a raster of probabilities is about which class.

    Raises
    ------
    SettingError
        If that cannot be told.
    """
    found = describe(source)
    scale = _scale(found)
    on_grid = found.on_grid(raster.grid, resampling="nearest")
    if found.band_count == 1:
        return Certainty(raster=on_grid, bands=(), scale=scale)
    places = {name: band for band, name in enumerate(found.bands)}
    wanted = {value: name for value, name in names.items() if classes is None or value in classes}
    bands = tuple(sorted((value, places[name]) for value, name in wanted.items() if name in places))
    if not bands:
        raise SettingError(
            f"no band of {found.name} ({', '.join(found.bands)}) has the name of a class "
            f"({', '.join(wanted.values()) or 'the class raster names none'}): name the bands after the "
            "classes, or give one band that holds the probability of each pixel's class."
        )
    return Certainty(raster=on_grid, bands=bands, scale=scale)


def _listed(text: str) -> dict[int, str]:
    try:
        return {int(each["value"]): str(each["name"]) for each in json.loads(text)}
    except (ValueError, TypeError, KeyError):
        return {}


def _categories(source: Any) -> dict[int, str]:
    """GDAL's category names, which only its own description of a data set tells."""
    with tempfile.TemporaryDirectory(prefix="rasterloom-") as folder:
        path = Path(folder) / "described.vrt"
        rasterio.shutil.copy(source, str(path), driver="VRT")
        band = ElementTree.fromstring(path.read_text()).find("VRTRasterBand")
    found = [] if band is None else band.findall("CategoryNames/Category")
    return {value: each.text for value, each in enumerate(found) if each.text}


def _scale(raster: Raster) -> float:
    """What a stored probability is multiplied by."""
    scale = 1.0
    if raster.path is not None:
        with reading(remote=raster.remote), open_source(raster.path) as source:
            scale = float(source.scales[0])
    if scale == 1.0 and np.dtype(raster.dtype).kind != "f":
        raise SettingError(
            f"{raster.name} holds {raster.dtype} and does not say what stands for a probability of 1: give "
            "floating-point numbers of 0 to 1, or a scale."
        )
    return scale
