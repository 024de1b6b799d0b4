"""Bring pixels onto another grid through GDAL's warper, the same for every window that is read."""

import math
from xml.etree.ElementTree import Element, SubElement

from affine import Affine

from rasterloom.models.errors import CrsError
from rasterloom.pipeline.rasters.grid import Grid, pixels_per_cell, project_bounds, same_crs
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.vrt import GDAL_TYPES, start_vrt, to_xml

_ALGORITHMS = {"nearest": "NearestNeighbour", "cubic_spline": "CubicSpline", "rms": "RMS"}
"""GDAL's names of resamplings, where they are not the usual ones with a capital."""


def kernel_scales(native: Grid, grid: Grid) -> dict[str, str]:
    """Cells per pixel, for GDAL's kernel widths, which it would else guess from the shape of each window."""
    across, down = pixels_per_cell(native, grid)
    if not (math.isfinite(across) and math.isfinite(down)):
        return {}
    # up to one pixel per cell there is nothing to smooth
    return {"XSCALE": repr(1 / max(across, 1.0)), "YSCALE": repr(1 / max(down, 1.0))}


def warped_xml(part: Raster, grid: Grid, resampling: str) -> str:
    """A virtual raster of the part's bands on ``grid``; without nodata, with an alpha band after them.

    References
    ----------
    GDAL documentation, "VRT -- GDAL Virtual Format", warped VRT.
    """
    masked = part.nodata is None
    root = start_vrt(grid)
    root.set("subClass", "VRTWarpedDataset")
    for number in range(1, part.band_count + 1 + masked):
        _add_warped_band(root, number, part, alpha=number > part.band_count)
    options = SubElement(root, "GDALWarpOptions")
    SubElement(options, "WarpMemoryLimit").text = str(64 * 2**20)
    SubElement(options, "ResampleAlg").text = _ALGORITHMS.get(resampling, resampling.capitalize())
    SubElement(options, "WorkingDataType").text = GDAL_TYPES[part.dtype]
    settings = {"INIT_DEST": "0" if masked else "NO_DATA", "UNIFIED_SRC_NODATA": "YES"}
    for name, value in (settings | kernel_scales(part.native, grid)).items():
        SubElement(options, "Option", name=name).text = value
    SubElement(options, "SourceDataset", relativeToVRT="0").text = str(part.path)
    _add_transformer(options, part.native, grid)
    _add_band_list(options, part)
    if part.alpha:
        SubElement(options, "SrcAlphaBand").text = str(part.band_count + 1)
    if masked:
        SubElement(options, "DstAlphaBand").text = str(part.band_count + 1)
    return to_xml(root)


def _add_warped_band(root: Element, number: int, part: Raster, *, alpha: bool) -> None:
    band = SubElement(
        root,
        "VRTRasterBand",
        dataType=GDAL_TYPES[part.dtype],
        band=str(number),
        subClass="VRTWarpedRasterBand",
    )
    if part.nodata is not None:
        SubElement(band, "NoDataValue").text = repr(part.nodata)
    if alpha:
        SubElement(band, "ColorInterp").text = "Alpha"


def _add_transformer(options: Element, source: Grid, target: Grid) -> None:
    """Coordinates from cell to pixel, without the approximation that differs from window to window."""
    place = SubElement(SubElement(options, "Transformer"), "GenImgProjTransformer")
    for name, grid in (("Src", source), ("Dst", target)):
        SubElement(place, f"{name}GeoTransform").text = _coefficients(grid.affine)
        SubElement(place, f"{name}InvGeoTransform").text = _coefficients(~grid.affine)
    if same_crs(source.crs, target.crs):
        return
    project = SubElement(SubElement(place, "ReprojectTransformer"), "ReprojectionTransformer")
    SubElement(project, "SourceSRS").text = source.crs
    SubElement(project, "TargetSRS").text = target.crs
    try:
        area = project_bounds(source.bounds, source.crs, "EPSG:4326")
    except CrsError:
        return  # another planet: there is one way to transform, and no choice by place
    within = SubElement(SubElement(project, "Options"), "Option", key="AREA_OF_INTEREST")
    within.text = ",".join(repr(value) for value in area)


def _coefficients(affine: Affine) -> str:
    a, b, c, d, e, f = tuple(affine)[:6]
    return ",".join(repr(float(value)) for value in (c, a, b, f, d, e))


def _add_band_list(options: Element, part: Raster) -> None:
    listed = SubElement(options, "BandList")
    for number in range(1, part.band_count + 1):
        mapping = SubElement(listed, "BandMapping", src=str(number), dst=str(number))
        if part.nodata is not None:
            for side in ("Src", "Dst"):
                SubElement(mapping, f"{side}NoDataReal").text = repr(part.nodata)
                SubElement(mapping, f"{side}NoDataImag").text = "0"
