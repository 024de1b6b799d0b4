"""What the EXIF of a photograph says: where it was taken, and which way up it is."""

import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from rasterloom.models.errors import MissingInputError, ReadError
from rasterloom.pipeline.rasters.gdal import open_source, reading

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")

_UPRIGHT: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "2": lambda pixels: pixels[..., ::-1],
        "3": lambda pixels: pixels[..., ::-1, ::-1],
        "4": lambda pixels: pixels[..., ::-1, :],
        "5": lambda pixels: pixels.swapaxes(-1, -2),
        "6": lambda pixels: pixels[..., ::-1, :].swapaxes(-1, -2),
        "7": lambda pixels: pixels[..., ::-1, ::-1].swapaxes(-1, -2),
        "8": lambda pixels: pixels[..., ::-1].swapaxes(-1, -2),
    }
)
"""How (.., H, W) pixels are turned that a camera has stored with one of EXIF's orientations."""


@dataclass(frozen=True)
class PhotoFacts:
    """What a photograph says of itself."""

    place: tuple[float, float] | None
    """Longitude and latitude in degrees; None where it does not say it, or says nonsense."""
    orientation: str
    """EXIF's number of how it is stored, "1" for upright."""

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (.., H, W) as they are to be seen."""
        turn = _UPRIGHT.get(self.orientation)
        return pixels if turn is None else turn(pixels)


def photo_facts(path: str | Path) -> PhotoFacts:
    """What a photograph says of itself.

    Raises
    ------
    MissingInputError, ReadError
        If it is not there, or is no image.
    """
    name = str(path)
    if "://" not in name and not name.startswith("/vsi"):
        local = Path(name).expanduser()
        if not local.exists():
            raise MissingInputError(f"there is no image {local}.")
        name = str(local)
    try:
        with reading(remote="://" in name), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a camera knows no grid
            with open_source(name) as source:
                tags = source.tags()
    except RasterioIOError as error:
        raise ReadError(f"{path} cannot be read as an image: {error}") from error
    longitude, latitude = (
        _degrees(tags.get(f"EXIF_GPS{side}"), tags.get(f"EXIF_GPS{side}Ref"), negative=negative, most=most)
        for side, negative, most in (("Longitude", "W", 180.0), ("Latitude", "S", 90.0))
    )
    place = None if longitude is None or latitude is None else (longitude, latitude)
    return PhotoFacts(place, str(tags.get("EXIF_Orientation", "1")).strip())


def _degrees(text: str | None, side: str | None, *, negative: str, most: float) -> float | None:
    """Degrees of GDAL's text of degrees, minutes and seconds, ``(47) (30) (12.3)``."""
    parts = [float(part) for part in _NUMBER.findall(text or "")]
    if not 1 <= len(parts) <= 3:
        return None
    degrees = math.fsum(part / 60**power for power, part in enumerate(parts))
    if not abs(degrees) <= most:
        return None
    return -degrees if (side or "").strip().upper().startswith(negative) else degrees
