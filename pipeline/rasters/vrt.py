"""Write GDAL virtual rasters: several files on one grid, as XML."""

from xml.etree.ElementTree import Element, SubElement, tostring

from rasterloom.pipeline.rasters.grid import Grid, Window

GDAL_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}
"""NumPy's names of pixel types, and GDAL's."""


def start_vrt(grid: Grid) -> Element:
    """An empty virtual raster on ``grid``.

    References
    ----------
    GDAL documentation, "VRT -- GDAL Virtual Format".
    """
    root = Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    SubElement(root, "SRS").text = grid.crs
    a, b, c, d, e, f = grid.transform
    SubElement(root, "GeoTransform").text = ", ".join(repr(value) for value in (c, a, b, f, d, e))
    return root


def add_band(
    root: Element, number: int, dtype: str, *, name: str = "", nodata: float | None = None
) -> Element:
    """Append band ``number`` (from 1) without sources."""
    band = SubElement(root, "VRTRasterBand", dataType=GDAL_TYPES[dtype], band=str(number))
    if name:
        SubElement(band, "Description").text = name
    if nodata is not None:
        SubElement(band, "NoDataValue").text = repr(nodata)
    return band


def add_mask(root: Element) -> Element:
    """Append the mask that all bands share, without sources."""
    return SubElement(SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")


def add_source(
    band: Element,
    path: str,
    window: Window,
    source_band: str,
    *,
    nodata: float | None = None,
    masked: bool = False,
) -> None:
    """Put a file's band at ``window``, pixel for pixel.

    Pixels that are ``nodata`` are left out; with ``masked``, also those that the file's own mask leaves out.
    """
    source = SubElement(band, "ComplexSource" if masked or nodata is not None else "SimpleSource")
    SubElement(source, "SourceFilename", relativeToVRT="0").text = path
    SubElement(source, "SourceBand").text = source_band
    height, width = str(window.height), str(window.width)
    SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    SubElement(source, "DstRect", xOff=str(window.col), yOff=str(window.row), xSize=width, ySize=height)
    if nodata is not None:
        SubElement(source, "NODATA").text = repr(nodata)
    if masked:
        SubElement(source, "UseMaskBand").text = "true"


def to_xml(root: Element) -> str:
    """The text that GDAL opens like a file name."""
    return tostring(root, encoding="unicode")
