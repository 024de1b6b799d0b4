"""Put what tasks read where all workers reach it, so that the raster that travels with them stays small."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.cluster.places import Place
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.pairs import Pair
from rasterloom.pipeline.rasters.raster import Pixels, Raster

CHUNK = 512
"""Side, in pixels, of the chunks that an array in memory is written in."""

_PIXELS = "pixels"
"""Name of the array in a store that :func:`pinned` writes."""

_WHOLE = "whole"
"""Attribute that such a store gets when it is written to the end."""

_loaded: dict[str, Any] = {}
"""Computed arrays that this process has read, by digest."""

_MOST_LOADED = 2
"""Computed arrays that are kept: a run has one, or one of each of two dates."""

_loading = threading.Lock()


@dataclass(frozen=True)
class StoredGraph:
    """A Dask array whose recipe lies in a file, which each process loads once."""

    place: Place
    name: str
    """Name of the file."""
    digest: str
    """SHA-256 of its content: nothing else is loaded from there."""

    def read(self, window: Window, bands: Sequence[int]) -> np.ndarray:
        """The pixels (band, row, column) of a window; only its chunks are computed, in this thread."""
        rows, cols = window.slices
        part = self._array()[list(bands), rows, cols]
        return np.asarray(part.compute(scheduler="synchronous"))

    def _array(self) -> Any:
        with _loading:
            if self.digest not in _loaded:
                import cloudpickle

                content = self.place.read(self.name)
                if hashlib.sha256(content).hexdigest() != self.digest:
                    raise OSError(f"{self.place}/{self.name} is not what was written there")
                while len(_loaded) >= _MOST_LOADED:
                    del _loaded[next(iter(_loaded))]
                _loaded[self.digest] = cloudpickle.loads(content)
            return _loaded[self.digest]


def pinned(raster: Raster, place: "Place | Path | str") -> Raster:
    """The same raster, with everything put into ``place`` that its tasks read besides files they all see.

    The text of a mosaic becomes a .vrt file, an array in memory a Zarr store, and a computed array a file of
    its recipe. What the recipe itself holds in memory is written with it.

    Parameters
    ----------
    raster
        Any.
    place
        A folder, or the address of one. It is made when something is written.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    place = Place.of(place)
    if raster.array is None:
        return _pinned_text(raster, place)
    if isinstance(raster.array, Pair):
        return replace(
            raster, array=Pair(pinned(raster.array.first, place), pinned(raster.array.second, place))
        )
    if isinstance(raster.array, Pixels):
        return raster
    if raster.array.chunks is None:
        return replace(raster, array=_written(raster, place))
    import cloudpickle

    content = cloudpickle.dumps(raster.array.data)
    name = f"array-{raster.etag[:16]}.pickle"
    place.write(name, content)
    return replace(raster, array=StoredGraph(place, name, hashlib.sha256(content).hexdigest()))


def _pinned_text(raster: Raster, place: Place) -> Raster:
    if raster.path is None or not raster.path.startswith("<VRTDataset"):
        return raster
    name = f"mosaic-{hashlib.sha256(raster.path.encode()).hexdigest()[:16]}.vrt"
    try:
        path = place.gdal(name)
    except SettingError:
        return raster  # GDAL has no way to that place: the text itself has to travel
    place.write(name, raster.path.encode())
    return replace(raster, path=path)


def _written(raster: Raster, place: Place) -> Any:
    """The pixels of an array in memory as a Zarr store; one that is there already is taken as it is."""
    import zarr

    from rasterloom.pipeline.rasters.zarrs import ZarrPixels

    store = place / f"array-{raster.etag[:16]}.zarr"
    pixels = ZarrPixels(store.url, (_PIXELS,), (raster.band_count,), raster.etag)
    shape = (raster.band_count, *raster.native.shape)
    group = zarr.open_group(store.url, mode="a")
    if group.attrs.get(_WHOLE):
        return pixels
    target = group.create_array(
        _PIXELS, shape=shape, dtype=raster.dtype, chunks=(shape[0], CHUNK, CHUNK), overwrite=True
    )
    for row in range(0, shape[1], CHUNK):  # stripe by stripe: the array may be a file's, not yet read
        stripe = np.asarray(raster.array[:, row : row + CHUNK].data)
        target[:, row : row + CHUNK] = stripe.astype(raster.dtype, copy=False)
    group.attrs[_WHOLE] = True
    return pixels
