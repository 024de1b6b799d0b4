"""Join tiles in a virtual raster that says all that the finished file will say."""

import json
import math
from collections.abc import Iterable, Mapping
from xml.etree.ElementTree import Element, SubElement

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.outputs.raster import BandStatistics, OutputRaster
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.vrt import add_band, add_source, start_vrt


def virtual_raster(
    sources: Iterable[tuple[str, Window]], what: OutputRaster, *, overviews: int = 0, relative: bool = False
) -> Element:
    """A virtual raster with names, colours, nodata, statistics and scale.

    Parameters
    ----------
    sources
        What GDAL opens and its place on ``what.grid``. They may reach beyond it. Where there is none, the
        raster holds nodata.
    what
        All but the pixels.
    overviews
        Levels of overviews to declare, each half the size of the one before. The sources must have them.
    relative
        Whether the sources' paths begin at the folder of the virtual raster.
    """
    root = start_vrt(what.grid)
    listed = [{"value": c.value, "name": c.name, "color": c.color} for c in what.classes]
    _metadata(
        root, ({"CLASSES": json.dumps(listed)} if listed or what.is_class_map else {}) | dict(what.metadata)
    )
    placed = list(sources)
    for index, name in enumerate(what.bands):
        band = add_band(root, index + 1, what.dtype, name=name, nodata=what.nodata)
        if what.statistics:
            _metadata(band, _statistics(what.statistics[index]))
        if (
            what.is_class_map and what.dtype == "uint8"
        ):  # a palette and a name for each value up to the largest
            _add_palette(band, what.classes)
        if what.scale is not None:
            SubElement(band, "Offset").text = "0"
            SubElement(band, "Scale").text = repr(what.scale)
        for path, window in placed:
            add_source(band, path, window, str(index + 1))
    if relative:
        for source in root.iter("SourceFilename"):
            source.set("relativeToVRT", "1")
    if overviews:
        factors = " ".join(str(2**level) for level in range(1, overviews + 1))
        # nearest: at a factor of its own, a source answers with its overview as it is
        SubElement(root, "OverviewList", resampling="nearest").text = factors
    return root


def _metadata(element: Element, items: Mapping[str, str]) -> None:
    holder = SubElement(element, "Metadata")
    for key, value in items.items():
        SubElement(holder, "MDI", key=key).text = value


def _statistics(found: BandStatistics | None) -> dict[str, str]:
    """Statistics under the keys that GDAL and QGIS look for."""
    if found is None or not math.isfinite(found.minimum + found.maximum):
        return {}
    items = {
        "STATISTICS_MINIMUM": str(found.minimum),
        "STATISTICS_MAXIMUM": str(found.maximum),
    }
    if found.mean is not None and found.stddev is not None:
        items |= {"STATISTICS_MEAN": repr(found.mean), "STATISTICS_STDDEV": repr(found.stddev)}
    return items


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
