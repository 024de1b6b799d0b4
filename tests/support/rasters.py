"""Small generated rasters, the same for the same seed."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.vrt import add_band, add_source, start_vrt, to_xml


def write_raster(
    path: str | Path,
    *,
    height: int,
    width: int,
    bands: int = 3,
    dtype: str = "uint8",
    crs: str | None = "EPSG:32633",
    cell: float = 1.0,
    nodata: float | None = None,
    seed: int = 0,
    origin: tuple[float, float] = (500000.0, 5000000.0),
) -> Path:
    """Write a tiled GeoTIFF of smooth random content; ``origin`` is its upper-left corner.

    With ``nodata`` set, a rectangle in the lower right (a sixteenth of the raster) holds it.
    """
    pixels = smooth_pixels(bands, height, width, dtype=dtype, seed=seed)
    if nodata is not None:
        pixels[:, height - height // 4 :, width - width // 4 :] = nodata
    return write_pixels(path, pixels, crs=crs, cell=cell, nodata=nodata, origin=origin)


def write_pixels(
    path: str | Path,
    pixels: NDArray,
    *,
    crs: str | None = "EPSG:32633",
    cell: float = 1.0,
    nodata: float | None = None,
    origin: tuple[float, float] = (500000.0, 5000000.0),
) -> Path:
    """Write (band, row, column) pixels as a tiled GeoTIFF with 64-pixel blocks."""
    path = Path(path)
    profile = {
        "driver": "GTiff",
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": str(pixels.dtype),
        "transform": Affine(cell, 0, origin[0], 0, -cell, origin[1]),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
        "zlevel": 1,
        "BIGTIFF": "IF_SAFER",
        "alpha": "NO",  # else GDAL calls the last of four bands of bytes so
    }
    with rasterio.open(path, "w", crs=crs, nodata=nodata, **profile) as target:
        target.write(pixels)
    return path


def smooth_pixels(bands: int, height: int, width: int, *, dtype: str = "uint8", seed: int = 0) -> NDArray:
    """Pixels (band, row, column) that vary slowly, with a little noise; the range fits the type."""
    generator = np.random.default_rng(seed)
    rows, cols = np.linspace(0, 6, height)[:, None], np.linspace(0, 6, width)[None, :]
    pixels = np.empty((bands, height, width), "float32")
    for band in range(bands):
        phases = generator.uniform(0, 2 * np.pi, 4)
        waves = np.sin(rows + phases[0]) + np.cos(1.7 * cols + phases[1])
        waves = waves + np.sin(2.3 * rows + 1.3 * cols + phases[2]) * np.cos(phases[3])
        pixels[band] = 0.5 + waves / 8 + generator.normal(0, 0.02, (height, width))
    pixels = pixels.clip(0.01, 0.99)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return pixels.astype(kind)
    return (pixels * min(np.iinfo(kind).max, 10_000)).astype(kind)


def break_block(path: Path, *, row: int, col: int) -> None:
    """Overwrite the compressed bytes of one 64-pixel block with something that is not deflate."""
    with rasterio.open(path) as source:
        offset = int(source.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1))
        size = int(source.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1))
    with path.open("r+b") as target:
        target.seek(offset)
        target.write(b"\xff" * size)


def write_repeated(path: Path, tile: Path, times: int) -> Path:
    """A VRT of ``times`` x ``times`` copies of a raster: a large scene on a small disk."""
    with rasterio.open(tile) as source:
        height, width, count = source.height, source.width, source.count
        crs, (a, b, c, d, e, f) = source.crs.to_wkt(), tuple(source.transform)[:6]
    root = start_vrt(Grid(crs, (a, b, c, d, e, f), times * height, times * width))
    for band in range(1, count + 1):
        element = add_band(root, band, "uint8")
        for row, col in np.ndindex(times, times):
            add_source(element, str(tile), Window(row * height, col * width, height, width), str(band))
    path.write_text(to_xml(root))
    return path
