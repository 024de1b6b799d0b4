"""One value for every source of pixels, small enough to send to a worker."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from rasterio.enums import Resampling

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Grid, Window, pixels_per_cell


@runtime_checkable
class Pixels(Protocol):
    """Pixels that lie elsewhere than in a file of GDAL's: small, picklable, read by windows."""

    def read(self, window: Window, bands: Sequence[int]) -> np.ndarray:
        """The pixels (band, row, column) of a window of the native grid."""


@runtime_checkable
class JudgedPixels(Pixels, Protocol):
    """Pixels that know themselves which of them hold something. They are read on their native grid."""

    def read_valid(self, window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The pixels (band, row, column) of a window, and where they are valid: (row, column) of bool."""


@dataclass(frozen=True)
class Raster:
    """A source of pixels on a grid. Made by :func:`rasterloom.pipeline.rasters.open.describe`."""

    name: str
    """What messages call it: the path, or what kind of array it is."""
    path: str | None
    """What GDAL opens: a file, or the XML of a mosaic. None for an array."""
    array: Any
    """The (band, y, x) ``xarray.DataArray``, dask-backed or not, or :class:`Pixels`. None for a file."""
    native: Grid
    """Grid of the source itself."""
    grid: Grid
    """Grid that windows are read on; equals ``native`` unless pixels are resampled."""
    bands: tuple[str, ...]
    """Band names; an alpha band is not among them."""
    dtype: str
    """NumPy name of the pixel type."""
    nodata: float | None
    """Value of pixels that hold nothing, if there is one."""
    resampling: str
    """How pixels are resampled when ``grid`` is not ``native``: a name of ``rasterio.enums.Resampling``."""
    etag: str
    """Changes whenever the pixels may have changed."""
    alpha: bool = False
    """Whether the file has one more band, the last, that says which pixels are valid."""
    indexed: bool = False
    """Whether numbers stand for entries of a colour map: they are never averaged."""

    remote: bool = False
    """Whether pixels come through a network: files beside the raster (.msk, .ovr) are then not looked for."""

    @property
    def band_count(self) -> int:
        return len(self.bands)

    def on_grid(self, grid: Grid, *, resampling: str | None = None) -> "Raster":
        """The same pixels read on another grid. Cells outside of the source are not valid.

        Where the cells are the source's own, moved by whole pixels, nothing is resampled.

        Parameters
        ----------
        grid
            The grid to read on.
        resampling
            Name of a GDAL resampling. None takes ``average`` where the cells grow by more than a half,
            else ``bilinear``; for a raster with a colour map ``nearest``.

        Raises
        ------
        SettingError
            If there is no such resampling.
        """
        if grid == self.grid:
            return self
        return replace(self, grid=grid, resampling=resampling_for(self, grid, resampling))


def resampling_for(raster: Raster, grid: Grid, wanted: str | None = None) -> str:
    """The resampling that is ``wanted``; by default the one that suits the raster and the cells of ``grid``.

    Raises
    ------
    SettingError
        If there is no such resampling.
    """
    if wanted is not None:
        return check_resampling(wanted)
    if raster.indexed:
        return "nearest"
    return "average" if max(pixels_per_cell(raster.native, grid)) > 1.5 else "bilinear"


def check_resampling(wanted: str) -> str:
    """The name as given, if GDAL can warp with it.

    Raises
    ------
    SettingError
        If there is no such resampling.
    """
    known = [each.name for each in Resampling if each.name != "gauss"]  # which GDAL cannot warp with
    if wanted not in known:
        raise SettingError(f"resampling={wanted!r} is not known: use one of {', '.join(known)}.")
    return wanted
