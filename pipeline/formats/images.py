"""Chip images as files: TIFF, PNG, JPEG and MRF."""

import struct
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from defusedxml import DefusedXmlException, ElementTree
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from rasterloom.models.errors import CrsError, OutputError, SettingError, StoreError
from rasterloom.pipeline.formats.worldfiles import read_world, world_text
from rasterloom.pipeline.rasters.gdal import FAILURES, reading
from rasterloom.pipeline.rasters.grid import read_crs


@dataclass(frozen=True)
class FileType:
    """A kind of image file."""

    driver: str
    suffix: str
    world: str
    """Suffix of the world file; empty where there is none."""
    options: Mapping[str, Any]
    more: tuple[str, ...] = ()
    """Suffixes of further files of the same image."""


FILE_TYPES: Mapping[str, FileType] = {
    "TIFF": FileType("GTiff", ".tif", ".tfw", {}),
    "PNG": FileType("PNG", ".png", ".pgw", {}),
    # 95 of 100: the most that the driver's documentation still calls useful
    "JPEG": FileType("JPEG", ".jpg", ".jgw", {"quality": 95}),
    "MRF": FileType(
        "MRF", ".mrf", "", {"compress": "DEFLATE", "blocksize": 512}, (".idx", ".pzp", ".mrf.aux.xml")
    ),
}
"""By the chip format. JPEG changes pixels, the others keep them."""

_WORLDS = {".tif": ".tfw", ".tiff": ".tfw", ".png": ".pgw", ".jpg": ".jgw", ".jpeg": ".jgw"}
_DRIVERS = {
    ".tif": "GTiff",
    ".tiff": "GTiff",
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".mrf": "MRF",
}
MAX_PIXELS = 2**28
"""Pixels of one chip, 16,384 a side: a file that claims more is damaged, or no chip."""

_OPENING = threading.Lock()
"""Held while warnings are silenced: the filters belong to the whole process."""


@dataclass(frozen=True)
class Header:
    """What a file says of its image."""

    bands: int
    height: int
    width: int
    dtype: str
    transform: Affine
    crs: str
    """Well-known text, or empty."""
    nodata: float | None
    names: tuple[str, ...]
    """Of the bands: the file's descriptions, else what colour each is, else its number."""


def check_chip_format(chip_format: str, bands: int, dtype: str) -> None:
    """Refuse images that a file type cannot hold.

    Raises
    ------
    SettingError
        With what would work.
    """
    if chip_format not in FILE_TYPES:
        raise SettingError(
            f"chip_format={chip_format!r} is no kind of image file: use one of {', '.join(FILE_TYPES)}."
        )
    types = {"PNG": ("uint8", "uint16"), "JPEG": ("uint8",)}.get(chip_format)
    counts = {"PNG": (1, 2, 3), "JPEG": (1, 3)}.get(chip_format)
    if counts is not None and bands not in counts:
        raise SettingError(
            f"chip_format={chip_format!r} holds {'at most 3' if bands > 3 else '1 or 3'} bands, and these "
            f"images have {bands}: choose TIFF."
        )
    if types is not None and dtype not in types:
        raise SettingError(
            f"chip_format={chip_format!r} holds {' or '.join(types)}, not {dtype} as these images are: "
            "choose TIFF."
        )


def write_image(
    path: Path,
    pixels: np.ndarray,
    *,
    chip_format: str = "TIFF",
    transform: Any,
    crs: str,
    nodata: float | None = None,
    **options: Any,
) -> None:
    """Write an image (C, H, W) and its world file. Written again, also over damage, the bytes are the same.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    kind = FILE_TYPES[chip_format]
    coefficients = tuple(float(value) for value in transform)
    place: dict[str, Any] = {}
    if chip_format in ("TIFF", "MRF"):
        # the other drivers would put what they cannot hold into a further file
        place = {"transform": Affine(*coefficients), "crs": _crs(crs), "nodata": nodata}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a killed run leaves half a file, which GDAL would open first, or write on at its end
        for suffix in (path.suffix, *kind.more):
            path.with_suffix(suffix).unlink(missing_ok=True)
        with reading(), _quietly(lambda: _create(path, pixels, kind, {**place, **options})) as target:
            target.write(pixels)
        if kind.world:
            path.with_suffix(kind.world).write_text(world_text(coefficients), "ascii", newline="\n")
    except FAILURES as error:
        raise OutputError(
            f"{path} cannot be written: {error}. Make room, or choose another folder."
        ) from error


def write_labels(path: Path, values: np.ndarray, *, transform: Any, crs: str) -> None:
    """Write class values or object numbers (B, H, W) as a compressed TIFF."""
    write_image(path, values, transform=transform, crs=crs, compress="deflate", zlevel=1)


def read_header(path: Path) -> Header:
    """What a file says of its image, without reading pixels.

    Raises
    ------
    StoreError
        If it cannot be opened.
    """
    with reading(), _opened(path) as source:
        colours = [c.name.capitalize() for c in source.colorinterp]
        names = tuple(
            text or (colour if colour in ("Red", "Green", "Blue") else f"Band_{index}")
            for index, (text, colour) in enumerate(zip(source.descriptions, colours, strict=True), start=1)
        )
        return Header(
            source.count,
            source.height,
            source.width,
            str(source.dtypes[0]),
            _placed(path, source.transform),
            source.crs.to_wkt() if source.crs else "",
            source.nodata,
            names,
        )


def read_image(path: Path) -> np.ndarray:
    """The pixels (C, H, W) of a file.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    with reading(), _opened(path) as source:
        try:
            return np.asarray(source.read())
        except FAILURES as error:
            raise StoreError(_damaged(path, error)) from error


def read_transform(path: Path) -> Affine:
    """The transform of an image: its world file's, else its own."""
    world = path.with_suffix(_WORLDS.get(path.suffix.lower(), ".none"))
    # the numbers in a GeoTIFF are exact, those in a world file have ten decimals
    if path.suffix.lower() not in (".tif", ".tiff") and world.exists():
        return read_world(world)
    return read_header(path).transform


@lru_cache(maxsize=64)
def _crs(text: str) -> CRS | None:
    try:
        return read_crs(text) if text else None
    except CrsError:
        return None


def _create(path: Path, pixels: np.ndarray, kind: FileType, more: Mapping[str, Any]) -> Any:
    bands, height, width = pixels.shape
    return rasterio.open(
        path,
        "w",
        driver=kind.driver,
        width=width,
        height=height,
        count=bands,
        dtype=pixels.dtype,
        **{**kind.options, **more},
    )


def _opened(path: Path) -> Any:
    driver = _DRIVERS.get(path.suffix.lower())
    if driver is None:
        raise StoreError(f"{path} is no image of a kind that is read here: {', '.join(sorted(_DRIVERS))}.")
    try:
        if driver == "MRF":
            _check_mrf(path)
        if driver == "PNG":
            _check_png(path)
        source = _quietly(lambda: rasterio.open(path, driver=driver))
    except FAILURES as error:
        raise StoreError(_damaged(path, error)) from error
    if source.width * source.height > MAX_PIXELS:
        source.close()
        raise StoreError(
            f"{path} says that it has {source.height} x {source.width} pixels, and chips have at most "
            f"{MAX_PIXELS}: it is damaged, or a whole raster to be exported as chips."
        )
    return source


def _quietly(make: Any) -> Any:
    """What ``make`` opens. A chip that lies nowhere is no reason to warn."""
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return make()


def _placed(path: Path, transform: Affine) -> Affine:
    world = path.with_suffix(_WORLDS.get(path.suffix.lower(), ".none"))
    return read_world(world) if transform.is_identity and world.exists() else transform


def _check_mrf(path: Path) -> None:
    """Refuse an MRF that keeps its pixels elsewhere: GDAL would follow it to any file or address."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise StoreError(_damaged(path, error)) from error
    for word in ("CachedSource", "DataFile", "IndexFile", "Source"):
        if root.find(f".//{word}") is not None:
            raise StoreError(
                f"{path} takes its pixels from another place ({word}), which is not followed: "
                "convert it to TIFF (gdal_translate IN OUT.tif)."
            )


def _check_png(path: Path) -> None:
    """Refuse a PNG that was cut off: GDAL reads black where the rest should be."""
    with path.open("rb") as file:
        place, kind = 8, b""
        while kind != b"IEND":
            file.seek(place)
            head = file.read(8)
            if len(head) < 8:
                raise StoreError(_damaged(path, "the file ends too early"))
            length, kind = struct.unpack(">I4s", head)
            place += 12 + length


def _damaged(path: Path, error: object) -> str:
    cause = getattr(error, "__cause__", None) or error
    return (
        f"{path} cannot be read as an image: {cause}. Replace the file, or take the chip out of the folder."
    )
