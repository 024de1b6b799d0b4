"""How GDAL is allowed to behave while rasterloom reads: which drivers, how much cache, no code in VRTs."""

import rasterio
from rasterio._err import (
    CPLE_BaseError,
)  # rasterio lets some of GDAL's own errors through, under no public name
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

CACHE_BYTES = 64 * 2**20
"""GDAL's block cache per process. Measured: same speed as the default, a third of the memory."""

DRIVERS = ("GTiff", "VRT", "PNG", "JPEG", "JP2OpenJPEG", "MRF", "HFA", "ENVI", "netCDF", "WEBP")
"""Drivers that may open a raster: the formats imagery comes in, none that reaches out to other services.

A Cloud Optimized GeoTIFF is read by ``GTiff``; GDAL's driver called ``COG`` only writes.
"""

FAILURES = (RasterioError, CPLE_BaseError, OSError)
"""What rasterio raises where a file cannot be opened, read or written."""


def reading() -> rasterio.Env:
    """GDAL's settings for reading, as a context manager."""
    return rasterio.Env(
        GDAL_CACHEMAX=CACHE_BYTES,
        GDAL_VRT_ENABLE_PYTHON="NO",
        GDAL_PAM_ENABLED="YES",
        GDAL_NUM_THREADS="1",  # the workers are the parallelism
    )


def open_source(path: str) -> DatasetReader:
    """Open a file, or the XML of a mosaic, for reading. Call it inside :func:`reading`.

    No driver outside the list gets to see the file, so a text that is the address of a map service is not
    followed.

    Raises
    ------
    RasterioIOError
        If none of the drivers can open it.
    """
    return DatasetReader(path, driver=list(DRIVERS))
