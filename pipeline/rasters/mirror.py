"""Windows that reach beyond a raster: what lies outside is mirrored at the edge."""

from dataclasses import dataclass

import numpy as np

from rasterloom.pipeline.rasters.grid import Window, reflect_indices


@dataclass(frozen=True)
class Mirror:
    """How a window of a raster is filled from pixels that the raster has."""

    window: Window
    """What is wanted; it may reach beyond the raster."""
    shape: tuple[int, int]
    """Raster size, (height, width)."""

    @property
    def needed(self) -> Window:
        """The pixels of the raster that it takes, also those mirrored from outside the window."""
        rows, cols = self._rows, self._cols
        row, col = int(rows.min()), int(cols.min())
        return Window(row, col, int(rows.max()) - row + 1, int(cols.max()) - col + 1)

    def fill(self, pixels: np.ndarray) -> np.ndarray:
        """(..., row, column) pixels of :attr:`window` from those of :attr:`needed`."""
        needed = self.needed
        if needed == self.window:
            return pixels
        if needed == self.window.clipped(self.shape):
            return self._padded(pixels)
        picked = pixels.take(self._rows - needed.row, axis=-2)
        return picked.take(self._cols - needed.col, axis=-1)

    def _padded(self, pixels: np.ndarray) -> np.ndarray:
        window, (height, width) = self.window, self.shape
        down = (max(0, -window.row), max(0, window.row_stop - height))
        across = (max(0, -window.col), max(0, window.col_stop - width))
        return np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + [down, across], mode="reflect")

    @property
    def _rows(self) -> np.ndarray:
        return np.asarray(reflect_indices(self.window.row, self.window.row_stop, self.shape[0]))

    @property
    def _cols(self) -> np.ndarray:
        return np.asarray(reflect_indices(self.window.col, self.window.col_stop, self.shape[1]))
