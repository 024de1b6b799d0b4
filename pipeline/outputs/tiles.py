"""Write one finished piece of a raster so that it is either whole or not there."""

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.rasters.grid import Grid


def write_tile(
    place: Place, name: str, pixels: np.ndarray, grid: Grid, *, nodata: float | None = None
) -> None:
    """Write (band, row, column) pixels as a zstd GeoTIFF, by one rename or one upload.

    Raises
    ------
    OutputError
        If the file cannot be written. Nothing new stands under ``name`` then.
    """
    data = _encode(pixels, grid, nodata)
    try:
        place.write(name, data)
    except OSError as error:
        raise OutputError(
            f"{place}/{name} could not be written: {error.strerror or error}. "
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
                interleave="band",  # whoever joins tiles reads one band at a time
                compress="zstd",
                zstd_level=1,
            ) as target,
        ):
            target.write(pixels)
        return bytes(memory.read())
