"""How GDAL is allowed to behave while rasterloom reads: which drivers, how much cache, no code in VRTs."""

import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio._err import (
    CPLE_BaseError,
)  # rasterio lets some of GDAL's own errors through, under no public name
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from rasterloom.models.errors import MissingExtraError

CACHE_BYTES = 32 * 2**20
"""GDAL's block cache per process. Measured: same speed as the default, a third of the memory."""

DRIVERS = ("GTiff", "VRT", "PNG", "JPEG", "JP2OpenJPEG", "MRF", "HFA", "ENVI", "netCDF", "WEBP")
"""Drivers that may open a raster: the formats imagery comes in, none that reaches out to other services.

A Cloud Optimized GeoTIFF is read by ``GTiff``; GDAL's driver called ``COG`` only writes.
"""

FAILURES = (RasterioError, CPLE_BaseError, OSError)
"""What rasterio raises where a file cannot be opened, read or written."""

_PATIENCE = {
    "GDAL_HTTP_CONNECTTIMEOUT": "10",  # seconds
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
}
"""How long GDAL waits for a server. What the environment says goes before it."""


def reading(*, remote: bool = False) -> rasterio.Env:
    """GDAL's settings for reading, as a context manager.

    For a ``remote`` raster no files beside it (.ovr, .msk, .aux.xml) are looked for: that would take ten
    requests for each handle, and cloud formats have all in one file.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return rasterio.Env(**_settings(endpoint, remote))


@lru_cache(maxsize=8)
def _settings(endpoint: str | None, remote: bool) -> dict[str, Any]:
    patience = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    return patience | {
        "GDAL_CACHEMAX": CACHE_BYTES,
        "GDAL_VRT_ENABLE_PYTHON": "NO",
        "GDAL_PAM_ENABLED": "YES",
        "GDAL_NUM_THREADS": "1",  # the workers are the parallelism
        # TRUE asks for files beside the raster one by one: listing a bucket's folder can take minutes
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR" if remote else "TRUE",
        # a file that was replaced under its address is read anew by the next handle
        "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/",
        **(_store(endpoint) if endpoint else {}),
    }


def _store(endpoint: str) -> dict[str, str]:
    """GDAL's names for the object store that the AWS packages find through AWS_ENDPOINT_URL."""
    parts = urlsplit(endpoint)
    wanted = {
        "AWS_S3_ENDPOINT": parts.netloc + parts.path.rstrip("/"),
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}


def open_source(path: str) -> DatasetReader:
    """Open a file, or the XML of a mosaic, for reading. Call it inside :func:`reading`.

    No driver outside the list gets to see the file, so a text that is the address of a map service is not
    followed. An address that GDAL has no file system for is read through fsspec, as GeoTIFF.

    Raises
    ------
    RasterioIOError
        If none of the drivers can open it.
    MissingExtraError
        If the address needs a package that is not installed.
    """
    if "://" in path and not path.startswith(("<", "/")):
        return _open_elsewhere(path)
    return DatasetReader(path, driver=list(DRIVERS))


def _open_elsewhere(url: str) -> DatasetReader:
    import fsspec

    try:
        files, _ = fsspec.url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(f"reading {url.split('://')[0]}:// needs a package: {error}") from error
    # one driver: rasterio takes no list of them together with an opener
    return rasterio.open(url, opener=files, driver="GTiff")
