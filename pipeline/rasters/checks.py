"""What must hold before a data set is taken as a raster."""

from typing import Any

from rasterloom.models.errors import CrsError, RasterError

MAX_PIXELS = 4_000_000_000_000
"""Pixels of one raster: two million a side. More is a damaged header, or a mosaic to run in parts."""

MAX_BLOCK = 512 * 2**20
"""Bytes that one block of a file may decode to. A process holds a few blocks at once."""


def check_size(name: str, height: int, width: int) -> None:
    """Refuse a raster of more than ``MAX_PIXELS``."""
    if height * width > MAX_PIXELS:
        raise RasterError(
            f"{name} says that it has {height} x {width} pixels, more than the {MAX_PIXELS:.0e} that are "
            "read: if that is true, give parts of it one by one."
        )


def check_block(name: str, size: int, remedy: str) -> None:
    """Refuse pixels stored in blocks of more than ``MAX_BLOCK`` bytes."""
    if size > MAX_BLOCK:
        raise RasterError(
            f"{name} is stored in blocks of {size / 2**20:.0f} MiB, and reading one pixel takes a whole "
            f"block (at most {MAX_BLOCK // 2**20} MiB are read): {remedy}"
        )


def check_data_set(name: str, source: Any) -> None:
    """Refuse an open data set that is no raster of plain numbers on a grid, or too large to read.

    Raises
    ------
    RasterError, CrsError
        With what to do about it.
    """
    _check_bands(name, source)
    _check_place(name, source)
    check_size(name, source.height, source.width)
    # bands interleaved by pixel are decoded together
    together = source.count if source.profile.get("interleave") == "pixel" else 1
    rows, cols = max(source.block_shapes, key=lambda shape: shape[0] * shape[1])
    check_block(
        name, rows * cols * together * _bytes(source.dtypes[0]), "retile it (gdal_translate -co TILED=YES)."
    )


def _bytes(dtype: str) -> int:
    import numpy as np

    return int(np.dtype(dtype).itemsize)


def _check_bands(name: str, source: Any) -> None:
    if source.count == 0:
        held = ", ".join(part.split(":")[-1] for part in source.subdatasets[:8])
        raise RasterError(
            f"{name} is a container without bands of its own{f' (it holds {held})' if held else ''}: "
            "convert one of its parts to GeoTIFF, or open it with "
            "rioxarray.open_rasterio(FILE, variable=NAME) and give that."
        )
    kinds = list(dict.fromkeys(source.dtypes))
    if len(kinds) > 1:
        raise RasterError(
            f"{name} has bands of different pixel types ({', '.join(kinds)}): "
            "bring them to one first (gdal_translate -ot Float32 IN OUT.tif)."
        )
    if kinds[0].startswith("complex"):
        raise RasterError(
            f"{name} holds complex numbers ({kinds[0]}): write their magnitudes to a new file and give that."
        )


def _check_place(name: str, source: Any) -> None:
    unplaced = source.transform.is_identity or source.transform.determinant == 0
    if unplaced and (source.gcps[0] or source.rpcs is not None):
        by = "ground control points" if source.gcps[0] else "rational polynomials"
        raise CrsError(f"{name} is placed by {by} only: warp it to a grid first (gdalwarp IN OUT.tif).")
    if not source.crs:
        raise CrsError(
            f"{name} has no coordinate reference system: "
            "give it one (rio edit-info --crs EPSG:32633 FILE) or use a georeferenced copy."
        )
    if unplaced:
        raise RasterError(
            f"{name} does not say where its pixels lie: give it a transform "
            "(rio edit-info --transform '[1, 0, WEST, 0, -1, NORTH]' FILE) or use a georeferenced copy."
        )
