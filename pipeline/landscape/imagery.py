"""The scene and its truth as tiled GeoTIFF files with overviews, written block by block."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window as RasterioWindow

from rasterloom.pipeline.landscape.classes import BANDS, LANDSCAPE_CLASSES
from rasterloom.pipeline.landscape.render import SIDE, Block
from rasterloom.pipeline.rasters.grid import Grid, Window

_SMALLEST_OVERVIEW = 256
"""Pixels: no overview whose longer side is shorter."""

_CACHE = 64 * 2**20
"""Bytes of decoded blocks that GDAL may hold, whatever the machine's memory."""


class ImageryWriter:
    """The two open files; made by :func:`open_imagery`."""

    def __init__(self, scene: Any, truth: Any) -> None:
        self._scene = scene
        self._truth = truth

    def write(self, window: Window, block: Block) -> None:
        """Store the upper-left part of a canonical block that ``window`` has room for."""
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        self._scene.write(block.pixels[:, : window.height, : window.width], window=place)
        self._truth.write(block.classes[: window.height, : window.width], 1, window=place)


@contextmanager
def open_imagery(scene: Path, truth: Path, grid: Grid) -> Iterator[ImageryWriter]:
    """Two files to write to; after the block ends without an error they have their overviews too."""
    common = {
        "driver": "GTiff",
        "dtype": "uint8",
        "crs": grid.crs,
        "transform": grid.affine,
        "height": grid.height,
        "width": grid.width,
        "tiled": True,
        "blockxsize": SIDE,
        "blockysize": SIDE,
        "compress": "zstd",
        "zstd_level": 1,
        "bigtiff": "if_safer",
    }
    bands = {"count": len(BANDS), "interleave": "pixel", "predictor": 2, "photometric": "rgb", "alpha": "no"}
    with rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_TIFF_OVR_BLOCKSIZE=SIDE):
        with (
            rasterio.open(scene, "w", **common, **bands) as pixels,
            rasterio.open(truth, "w", count=1, **common) as classes,
        ):
            _describe(pixels, classes)
            yield ImageryWriter(pixels, classes)
        for path, resampling in ((scene, Resampling.average), (truth, Resampling.mode)):
            check_whole(path)
            _build_overviews(path, resampling)
            check_whole(path)


def _describe(scene: Any, truth: Any) -> None:
    scene.descriptions = BANDS
    scene.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined)
    truth.write_colormap(1, {info.value: (*info.color, 255) for info in LANDSCAPE_CLASSES})
    truth.set_band_description(1, "Class")
    truth.update_tags(1, **{f"CLASS_{info.value}": info.name for info in LANDSCAPE_CLASSES})


def _build_overviews(path: Path, resampling: Resampling) -> None:
    with rasterio.open(path, "r+") as raster:
        longest = max(raster.shape)
        levels = [2**k for k in range(1, 20) if longest / 2**k >= _SMALLEST_OVERVIEW]
        if levels:
            try:
                raster.build_overviews(levels, resampling)
            except CPLE_BaseError as error:  # no OSError, and of no public class
                raise OSError(f"overviews of {path.name}: {error}") from error


def check_whole(path: Path) -> None:
    """Make sure that every tile of a GeoTIFF lies inside the file.

    GDAL writes the last tiles while it closes a file, and rasterio does not raise when that fails.

    Raises
    ------
    OSError
        If a tile is missing or cut off.
    """
    length = path.stat().st_size
    with rasterio.open(path) as raster:
        for level, factor in enumerate([1, *raster.overviews(1)], -1):
            rows, cols = (range(-(-side // (SIDE * factor))) for side in raster.shape)
            ends = (_tile_end(raster, row, col, level) for row in rows for col in cols)
            if not all(0 < end <= length for end in ends):
                raise OSError(f"{path.name} is not whole, as on a full disk")


def _tile_end(raster: Any, row: int, col: int, level: int) -> int:
    """Byte after the last one of a tile; level -1 is the full resolution. 0 for a tile that is not there."""
    where = {"dm": "TIFF", "bidx": 1, "ovr": level if level >= 0 else None}
    start, size = (raster.get_tag_item(f"BLOCK_{item}_{col}_{row}", **where) for item in ("OFFSET", "SIZE"))
    return int(start) + int(size) if start and size else 0


def needed_bytes(grid: Grid) -> int:
    """What a scene's four files take on disk, within a sixth: 3.5 bytes for each pixel (measured)."""
    return int(3.5 * grid.height * grid.width)
