"""What an output may be called."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.origins import origins_of
from rasterloom.pipeline.rasters.raster import Raster

SUFFIXES = (".tif", ".tiff")

GRID = ".vrt"
"""How the name of a grid of COGs ends."""


def check_name(output: str, argument: str = "output_name") -> None:
    """Refuse a name that does not say what will stand under it. Raises SettingError.

    ``argument`` is what the tool calls it.
    """
    if not output.lower().endswith(SUFFIXES) or output.rpartition("/")[2].lower() in SUFFIXES:
        raise SettingError(
            f"{argument}={output!r} cannot work: the result is a GeoTIFF, so give a name that ends in .tif."
        )


def check_no_input(output: str, raster: Raster, model: Any, context: Mapping[str, Any]) -> None:
    """Refuse to write over what is read, whatever may be overwritten.

    ``output`` is what will open the result: a COG, or the .vrt of a grid of COGs, whose parts
    stand in a folder beside it.

    Raises
    ------
    SettingError
        If the output is the raster, a part of it, the model, the mask or the snap raster.
    """
    given = [model, context.get("mask"), context.get("snapRaster")]
    read = origins_of(raster) | {_resolved(str(item)) for item in given if isinstance(item, str | Path)}
    if _resolved(output) in read:
        raise SettingError(f"{output} is read by this call: choose another output_name.")
    folder = f"{_resolved(output.rpartition('.')[0])}/"
    inside = next((name for name in sorted(read) if name.startswith(folder)), None)
    if output.endswith(GRID) and inside is not None:
        raise SettingError(
            f"{inside} is read by this call and stands in the folder that the parts of the result take: "
            "choose another output_name."
        )


def _resolved(name: str) -> str:
    return name if "://" in name else str(Path(name).resolve())
