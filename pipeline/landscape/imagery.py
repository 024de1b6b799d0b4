"""The scene and its truth as tiled GeoTIFF files with overviews, written block by block."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window as RasterioWindow

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.landscape.classes import BANDS, CHANGE_CLASSES, LANDSCAPE_CLASSES
from rasterloom.pipeline.landscape.render import SIDE, Block
from rasterloom.pipeline.rasters.grid import Grid, Window

_COLORS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined)
_SMALLEST_OVERVIEW = 256
"""Pixels: no overview whose longer side is shorter."""

_CACHE = 64 * 2**20
"""Bytes of decoded blocks that GDAL may hold, whatever the machine's memory."""


class ImageryWriter:
    """The open files; made by :func:`open_imagery` or :func:`open_dates`."""

    def __init__(self, scenes: Sequence[Any], truth: Any) -> None:
        self._scenes = scenes
        self._truth = truth

    def write(self, window: Window, *blocks: Block) -> None:
        """Store the upper-left part of a canonical block of each scene that ``window`` has room for.

        The truth is that of the last scene.
        """
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        for scene, block in zip(self._scenes, blocks, strict=True):
            scene.write(block.pixels[:, : window.height, : window.width], window=place)
        self._truth.write(blocks[-1].classes[: window.height, : window.width], 1, window=place)


@contextmanager
def open_imagery(scene: Path, truth: Path, grid: Grid) -> Iterator[ImageryWriter]:
    """Two files to write to; after the block ends without an error they have their overviews too."""
    with _opened((scene,), truth, grid, LANDSCAPE_CLASSES) as writer:
        yield writer


@contextmanager
def open_dates(before: Path, after: Path, truth: Path, grid: Grid) -> Iterator[ImageryWriter]:
    """The same of two scenes and what changed between them."""
    with _opened((before, after), truth, grid, CHANGE_CLASSES) as writer:
        yield writer


@contextmanager
def _opened(
    scenes: Sequence[Path], truth: Path, grid: Grid, infos: Sequence[ClassInfo]
) -> Iterator[ImageryWriter]:
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
        with ExitStack() as files:
            pixels = [files.enter_context(rasterio.open(path, "w", **common, **bands)) for path in scenes]
            classes = files.enter_context(rasterio.open(truth, "w", count=1, **common))
            for scene in pixels:
                scene.descriptions = BANDS
                scene.colorinterp = _COLORS
            _describe(classes, infos)
            yield ImageryWriter(pixels, classes)
        for path in (*scenes, truth):
            check_whole(path)
            _build_overviews(path, Resampling.mode if path == truth else Resampling.average)
            check_whole(path)


def _describe(truth: Any, infos: Sequence[ClassInfo]) -> None:
    truth.write_colormap(1, {info.value: (*info.color, 255) for info in infos})
    truth.set_band_description(1, "Class")
    truth.update_tags(1, **{f"CLASS_{info.value}": info.name for info in infos})


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


def needed_bytes(grid: Grid, *, scenes: int = 1) -> int:
    """What scenes and their other files take on disk, within a sixth: 3.5 bytes for each pixel (measured)."""
    return int(3.5 * scenes * grid.height * grid.width)
