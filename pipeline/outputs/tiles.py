"""Write one finished piece of a raster so that it is either whole or not there."""

import uuid
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from rasterloom.models.errors import OutputError
from rasterloom.pipeline.rasters.grid import Grid


def write_tile(path: Path, pixels: np.ndarray, grid: Grid, *, nodata: float | None = None) -> None:
    """Write (band, row, column) pixels as a zstd GeoTIFF under a temporary name, then rename it.

    Raises
    ------
    OutputError
        If the file cannot be written. Nothing stands under ``path`` then.
    """
    data = _encode(pixels, grid, nodata)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # two attempts may meet
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}. "
            f"It needed {len(data):,} bytes; free some space or write elsewhere."
        ) from error


def _encode(pixels: np.ndarray, grid: Grid, nodata: float | None) -> bytes:
    # encoded in memory first: Python's write reports a full disk, GDAL's close may not
    with MemoryFile() as memory:
        with (
            rasterio.Env(GDAL_NUM_THREADS="1"),
            memory.open(
                driver="GTiff",
                count=pixels.shape[0],
                height=grid.height,
                width=grid.width,
                dtype=pixels.dtype.name,
                crs=grid.crs,
                transform=grid.affine,
                nodata=nodata,
                tiled=True,
                blockxsize=256,
                blockysize=256,
                compress="zstd",
                zstd_level=1,
            ) as target,
        ):
            target.write(pixels)
        return bytes(memory.read())
