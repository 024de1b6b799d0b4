"""One value for every source of pixels, small enough to send to a worker."""

from dataclasses import dataclass, replace
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Grid, pixels_per_cell


@dataclass(frozen=True)
class Raster:
    """A source of pixels on a grid. Made by :func:`rasterloom.pipeline.rasters.open.describe`."""

    name: str
    """What messages call it: the path, or what kind of array it is."""
    path: str | None
    """What GDAL opens: a file, or the XML of a mosaic. None for an array."""
    array: Any
    """The (band, y, x) ``xarray.DataArray``, dask-backed or not. None for a file."""
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

    @property
    def band_count(self) -> int:
        return len(self.bands)

    def on_grid(self, grid: Grid, *, resampling: str | None = None) -> "Raster":
        """The same pixels read on another grid.

        Parameters
        ----------
        grid
            The grid to read on.
        resampling
            Name of a GDAL resampling. None takes ``average`` where the cells grow by more than a half,
            else ``bilinear``.

        Raises
        ------
        SettingError
            If the source is an array: arrays are read on their own grid.
        """
        if grid == self.grid:
            return self
        if self.array is not None:
            raise SettingError(
                f"{self.name} is an array and is read on its own grid: "
                "resample it first (DataArray.rio.reproject), or give the file it came from."
            )
        return replace(self, grid=grid, resampling=resampling or _usual_resampling(self.native, grid))


def _usual_resampling(native: Grid, grid: Grid) -> str:
    return "average" if max(pixels_per_cell(native, grid)) > 1.5 else "bilinear"
