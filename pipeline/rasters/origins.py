"""Which files a raster's pixels come from, so that nothing is written over them."""

from pathlib import Path

from rasterloom.pipeline.rasters.gdal import FAILURES, open_source, reading
from rasterloom.pipeline.rasters.pairs import Pair
from rasterloom.pipeline.rasters.raster import Raster


def origins_of(raster: Raster) -> set[str]:
    """Addresses and resolved local paths of what is read: the file, or the parts of a mosaic.

    Empty for an array that was computed.
    """
    if isinstance(raster.array, Pair):
        return origins_of(raster.array.first) | origins_of(raster.array.second)
    if raster.path is None:
        return {_resolved(raster.name)}
    try:
        with reading(), open_source(raster.path) as source:
            return {_resolved(name) for name in (raster.name, *source.files)}
    except FAILURES:  # whoever reads it will say so
        return {_resolved(raster.name)}


def _resolved(name: str) -> str:
    return name if "://" in name or name.startswith("/vsi") else str(Path(name).resolve())
