"""Two rasters on one grid as a single one: the bands of the first, then those of the second."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window


@dataclass(frozen=True)
class Pair:
    """The pixels of two rasters that are read on one grid. Made by :func:`paired`."""

    first: Raster
    second: Raster

    def read(self, window: Window, bands: Sequence[int]) -> np.ndarray:
        """The pixels (band, row, column) of a window."""
        return self.read_valid(window, bands)[0]

    def read_valid(self, window: Window, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The same, and where (row, column) all rasters that have some of the bands hold something."""
        count = self.first.band_count
        pixels = np.empty((len(bands), window.height, window.width), _common_type(self.first, self.second))
        valid = np.ones((window.height, window.width), bool)
        for raster, start in ((self.first, 0), (self.second, count)):
            own = [place for place, band in enumerate(bands) if (band >= count) == (start > 0)]
            if own:
                found, seen = read_window(raster, window, [bands[place] - start for place in own])
                pixels[own] = found
                valid &= seen
        return pixels, valid


def paired(first: Raster, second: Raster) -> Raster:
    """One raster with the bands of two; a pixel is valid where it is in both.

    Parameters
    ----------
    first, second
        On the same grid, as :meth:`Raster.on_grid` brings them there. Where their pixel types differ, both
        are read in one that holds either.

    Raises
    ------
    SettingError
        If their grids differ.
    """
    if first.grid != second.grid:
        raise SettingError(
            f"{first.name} and {second.name} are read on different grids: bring one onto the grid of the "
            "other (Raster.on_grid)."
        )
    return Raster(
        name=f"{first.name} and {second.name}",
        path=None,
        array=Pair(first, second),
        native=first.grid,
        grid=first.grid,
        bands=(*first.bands, *second.bands),
        dtype=_common_type(first, second).name,
        nodata=None,
        resampling="nearest",
        etag=_token(first, second),
    )


def _common_type(first: Raster, second: Raster) -> np.dtype[np.generic]:
    return np.result_type(first.dtype, second.dtype)


def _token(*parts: Raster) -> str:
    token = hashlib.sha256()
    for part in parts:
        token.update(f"{part.etag}|{asdict(part.grid)}|{part.resampling}\n".encode())
    return token.hexdigest()
