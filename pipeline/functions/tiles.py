"""One tile of a raster as inference functions get it, and what all of them are asked first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rasterloom.pipeline.functions.configuration import Configuration, code_of, read_configuration
from rasterloom.pipeline.functions.files import FunctionFiles
from rasterloom.pipeline.functions.host import CPU, Host
from rasterloom.pipeline.functions.parameters import Parameters, read_parameters


@dataclass(frozen=True)
class FunctionTile:
    """What a function sees for the sake of one tile."""

    pixels: np.ndarray
    """(C, ty + 2 * padding, tx + 2 * padding), in the raster's own type."""
    valid: np.ndarray
    """(ty + 2 * padding, tx + 2 * padding) of bool."""
    corner: tuple[float, float]
    """Column and row of the upper-left pixel of what comes out, on the raster's grid."""


@dataclass(frozen=True)
class RasterFacts:
    """What a function is told of the raster."""

    bands: int
    dtype: str
    """NumPy's name of the pixel type."""
    shape: tuple[int, int]
    """Height and width in pixels."""
    bounds: tuple[float, float, float, float]
    """West, south, east, north."""
    cell_size: tuple[float, float]
    """Width and height of a pixel, in units of the CRS."""
    crs: Any
    """EPSG code, or well-known text where there is none."""
    nodata: float | None

    def plain(self) -> dict[str, Any]:
        """The facts under the names that functions know, a new dictionary each time."""
        return {
            "bandCount": self.bands,
            "pixelType": code_of(self.dtype),
            "noData": None if self.nodata is None else (self.nodata,) * self.bands,
            "extent": tuple(self.bounds),
            "cellSize": tuple(self.cell_size),
            "spatialReference": self.crs,
            "width": self.shape[1],
            "height": self.shape[0],
        }


class TileFunction:
    """An inference function that has been told its parameters: what both kinds have in common."""

    def __init__(self, files: FunctionFiles, told: Mapping[str, Any] | None, *, device: int = CPU) -> None:
        """Load a script that is trusted, and ask it what it needs.

        Parameters
        ----------
        files
            The package.
        told
            The caller's values of its parameters.
        device
            GPU number, or -1 for the CPU.

        Raises
        ------
        PackageError
            If the script cannot be run, or says something that cannot work.
        SettingError
            If a parameter is not known, or its value is not.
        """
        self.host, self.source = Host(files, device=device), f"{files.source}, {files.script}"
        rows = self.host.call_if_there("getParameterInfo")
        self.parameters: Parameters = read_parameters(rows, source=self.source)
        self.scalars = self.parameters.told(told, source=files.source)
        scalars = {"model": str(self.host.emd_path), **self.scalars}
        plain = self.host.call_if_there("getConfiguration", **scalars)
        self.configuration: Configuration = read_configuration(plain, files.emd, source=self.source)

    def blocks(self, tile: FunctionTile) -> dict[str, Any]:
        """Pixels and mask under the names that the function knows: copies, which it may change."""
        pixels = tile.pixels.copy()
        mask = np.broadcast_to(tile.valid, pixels.shape).astype("u1")
        name = self.parameters.raster
        if self.parameters.several:
            return {f"{name}_pixels": (pixels,), f"{name}_mask": (mask,)}
        return {f"{name}_pixels": pixels, f"{name}_mask": mask}
