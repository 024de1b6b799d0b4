"""Put finished tiles together into one cloud-optimised GeoTIFF."""

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

import rasterio
import rasterio.shutil

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError, OutputExistsError
from rasterloom.pipeline.rasters.gdal import FAILURES
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.vrt import add_band, add_source, start_vrt, to_xml

BLOCK = 512
"""Side of the COG's internal tiles, in pixels."""


@dataclass(frozen=True)
class ClassMap:
    """A class raster about to be written, except its pixels."""

    grid: Grid
    dtype: str
    nodata: int
    classes: tuple[ClassInfo, ...]
    """Classes that may occur, for names and colours."""
    pixels_per_value: Mapping[int, int]
    """How many pixels hold each class value, for exact statistics."""


def check_free(path: Path, *, overwrite: bool) -> None:
    """Make sure that an output may be written, before any work is done.

    Raises
    ------
    OutputExistsError
        If something stands there and ``overwrite`` is false.
    OutputError
        If the folder cannot be made or written to.
    """
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists: pass overwrite=True, or choose another name.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the name of a .tif file in it.")
    probe = path.parent / f".{path.name}.{os.getpid()}.probe"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{path.parent} cannot be written to: {error.strerror or error}. Choose a folder that can."
        ) from error


def assemble_class_map(tiles: Iterable[tuple[str, Window]], what: ClassMap, path: str) -> str:
    """Write tiles as one COG with overviews, colours, names and statistics; it appears whole or not at all.

    Parameters
    ----------
    tiles
        File of each tile and its place on ``what.grid``. Where there is none, the map holds nodata.
    what
        Grid, classes and counts.
    path
        Final name. What stands there is replaced.

    Returns
    -------
    str
        ``path``.

    Raises
    ------
    OutputError
        If it cannot be written. What stood under ``path`` stays as it was.

    References
    ----------
    GDAL documentation, "COG -- Cloud Optimized GeoTIFF generator"; overviews of classes by ``mode``.
    """
    final = Path(path)
    vrt = final.with_name(f".{final.name}.{os.getpid()}.vrt")
    part = final.with_name(f".{final.name}.{os.getpid()}.part.tif")
    try:
        vrt.write_text(to_xml(_virtual_map(tiles, what)))
        # one thread writes the same bytes everywhere; the map is small once compressed
        with rasterio.Env(GDAL_NUM_THREADS="1", GDAL_TIFF_INTERNAL_MASK=True, GDAL_CACHEMAX=256 * 2**20):
            rasterio.shutil.copy(str(vrt), str(part), driver="COG", **_cog_options())
        part.replace(final)
        with contextlib.suppress(FileNotFoundError):
            _sidecar(part).replace(_sidecar(final))
    except FAILURES as error:
        raise _explained(error, final, what) from error
    finally:
        for leftover in (vrt, part, _sidecar(part)):
            leftover.unlink(missing_ok=True)
    return path


def _virtual_map(tiles: Iterable[tuple[str, Window]], what: ClassMap) -> Element:
    root = start_vrt(what.grid)
    listed = [{"value": c.value, "name": c.name, "color": c.color} for c in what.classes]
    _metadata(root, {"CLASSES": json.dumps(listed)})
    band = add_band(root, 1, what.dtype, name="class", nodata=what.nodata)
    _metadata(band, _statistics(what.pixels_per_value))
    if what.dtype == "uint8":  # a palette and a name for each value up to the largest
        _add_palette(band, what.classes)
    for path, window in tiles:
        add_source(band, path, window, "1")
    return root


def _metadata(element: Element, items: Mapping[str, str]) -> None:
    holder = SubElement(element, "Metadata")
    for key, value in items.items():
        SubElement(holder, "MDI", key=key).text = value


def _statistics(counts: Mapping[int, int]) -> dict[str, str]:
    """Exact statistics of the class values, under the keys that GDAL and QGIS look for."""
    total = sum(counts.values())
    if not total:
        return {}
    mean = sum(value * count for value, count in counts.items()) / total
    square = sum((value - mean) ** 2 * count for value, count in counts.items()) / total
    return {
        "STATISTICS_MINIMUM": str(min(counts)),
        "STATISTICS_MAXIMUM": str(max(counts)),
        "STATISTICS_MEAN": repr(mean),
        "STATISTICS_STDDEV": repr(math.sqrt(square)),
    }


def _add_palette(band: Element, classes: tuple[ClassInfo, ...]) -> None:
    known = {c.value: c for c in classes}
    SubElement(band, "ColorInterp").text = "Palette"
    names, colors = SubElement(band, "CategoryNames"), SubElement(band, "ColorTable")
    for value in range(max(known, default=0) + 1):
        found = known.get(value)
        SubElement(names, "Category").text = found.name if found else ("Background" if value == 0 else "")
        red, green, blue = found.color if found else (0, 0, 0)
        alpha = 255 if found else 0
        SubElement(colors, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=str(alpha))


def _cog_options() -> dict[str, str]:
    return {
        "COMPRESS": "DEFLATE",
        "LEVEL": "3",  # 6 takes twice the CPU time for a tenth fewer bytes
        "BLOCKSIZE": str(BLOCK),
        "OVERVIEW_RESAMPLING": "MODE",  # an average of class values is a class that is not there
        "OVERVIEW_COMPRESS": "DEFLATE",
        "BIGTIFF": "IF_SAFER",
    }


def _sidecar(path: Path) -> Path:
    """GDAL keeps category names here: a TIFF has no place for them."""
    return path.with_name(path.name + ".aux.xml")


def _explained(error: Exception, final: Path, what: ClassMap) -> OutputError:
    raw = what.grid.height * what.grid.width * (1 if what.dtype == "uint8" else 2)
    try:
        free = f"{shutil.disk_usage(final.parent).free:,}"
    except OSError:
        free = "an unknown number of"
    return OutputError(
        f"{final} could not be written: {error}. It needs at most {raw:,} bytes and as much again while it "
        f"is put together; {free} bytes are free in {final.parent}. What was computed is kept: the same "
        "call goes on from there."
    )
