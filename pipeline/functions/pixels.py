"""Inference functions that make pixels of pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.configuration import OutputInfo, read_output
from rasterloom.pipeline.functions.tiles import FunctionTile, RasterFacts, TileFunction


class PixelFunction(TileFunction):
    """An inference function that makes pixels of pixels."""

    def output_info(self, facts: RasterFacts) -> OutputInfo:
        """What it says of its output for such a raster. Raises PackageError if that cannot work."""
        output = facts.plain()
        named = {f"{self.parameters.raster}_info": facts.plain(), "output_info": output}
        answer = self.host.call_if_there("updateRasterInfo", **named)
        if isinstance(answer, Mapping) and isinstance(answer.get("output_info"), Mapping):
            output = dict(answer["output_info"])
        emd = self.host.files.emd
        return read_output(output, emd, untouched=facts.nodata, source=self.source)

    def run(
        self, tile: FunctionTile, facts: RasterFacts, output: OutputInfo
    ) -> tuple[np.ndarray, np.ndarray]:
        """The function's pixels for a tile.

        Returns
        -------
        pixels : ndarray of ``output.dtype``, (B, ty, tx)
        valid : ndarray of bool, (B, ty, tx)
            Where the function says so, or else where the raster holds something.

        Raises
        ------
        PackageError
            If it fails, or what it returns has another shape.
        """
        shape = (output.bands, *self.configuration.tile)
        found = self.host.call("updatePixels", tile.corner, shape, facts.plain(), **self.blocks(tile))
        if not isinstance(found, Mapping) or "output_pixels" not in found:
            raise PackageError(f"{self.source}: updatePixels returns no output_pixels.")
        pixels = self._shaped(found["output_pixels"], shape, "output_pixels")
        mask = found.get("output_mask")
        if mask is not None:
            return _cast(pixels, output.dtype), self._shaped(mask, shape, "output_mask").astype(bool)
        pad = self.configuration.padding
        height, width = self.configuration.tile
        valid = np.broadcast_to(tile.valid[pad : pad + height, pad : pad + width], shape)
        return _cast(pixels, output.dtype), valid

    def _shaped(self, given: Any, shape: tuple[int, int, int], what: str) -> np.ndarray:
        array = np.asarray(given)
        if array.ndim == 2:
            array = array[None]
        if array.shape != shape and not (what == "output_mask" and array.shape == (1, *shape[1:])):
            raise PackageError(
                f"{self.source}: {what} has shape {array.shape}, and {shape} is what it was asked for."
            )
        return np.broadcast_to(array, shape)


def _cast(pixels: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # NaN in what the mask leaves out
        return pixels.astype(dtype)
