"""Files, folders of files and lists of them, each as one raster."""

from collections.abc import Sequence
from pathlib import Path

from rasterloom.models.errors import MissingInputError
from rasterloom.pipeline.rasters.addresses import Address
from rasterloom.pipeline.rasters.files import describe_file
from rasterloom.pipeline.rasters.mosaics import mosaic
from rasterloom.pipeline.rasters.raster import Raster

SUFFIXES = (".tif", ".tiff", ".vrt", ".png", ".jpg", ".jpeg", ".jp2", ".mrf", ".img", ".webp")
"""Files of a folder that are taken as its rasters."""


def describe_place(place: Path | Address, *, resampling: str | None, alpha: str | None) -> Raster:
    """A file, or the rasters of a local folder as one mosaic.

    Raises
    ------
    MissingInputError
        If the folder holds no raster.
    RasterError, CrsError, SettingError
        As :func:`rasterloom.pipeline.rasters.open.describe`.
    """
    if isinstance(place, Path) and place.is_dir():
        return describe_parts(rasters_in(place), resampling=resampling, alpha=alpha)
    return describe_file(place, alpha)


def describe_parts(places: Sequence[Path | Address], *, resampling: str | None, alpha: str | None) -> Raster:
    """One mosaic of files; a single one is itself."""
    parts = [describe_file(place, alpha) for place in places]
    return parts[0] if len(parts) == 1 else mosaic(parts, resampling=resampling)


def rasters_in(folder: Path) -> list[Path]:
    """The files of a folder that are taken as its rasters, by name.

    Raises
    ------
    MissingInputError
        If there are none.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise MissingInputError(f"the folder {folder} holds no raster: looked for {', '.join(SUFFIXES)}.")
    return found
