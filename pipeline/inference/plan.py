"""What a pixel classification will do: pure, deterministic, small enough to send with every task."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from rasterloom.cluster.places import Place
from rasterloom.pipeline.inference.arguments import PixelArguments
from rasterloom.pipeline.inference.cells import CellBlock, CellGrid, cell_id
from rasterloom.pipeline.inference.decide import Decision
from rasterloom.pipeline.inference.script_plan import ScriptCells
from rasterloom.pipeline.inference.wanted import Mask
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.raster import Raster


@dataclass(frozen=True, kw_only=True)
class PixelPlan:
    """Classify the pixels of one raster with one model."""

    raster: Raster
    """On the grid it is read on."""
    cells: CellGrid
    package: str
    """Path of the model package, where every worker can read it."""
    digest: str
    """Content hash of the model."""
    bands: tuple[int, ...]
    """0-based bands of the raster, in the network's order."""
    values: tuple[int, ...]
    """Class value of each network output."""
    arguments: PixelArguments
    device: str
    """``cpu`` or ``cuda``."""
    precision: str = "float32"
    """Type of the network's arithmetic."""
    compiled: bool = False
    """Whether the network goes through ``torch.compile``."""
    mask: Mask | None = None
    """Where results are wanted; None: everywhere."""
    tiles: Place | None = None
    """Folder that takes the finished cells; None while there is none."""

    @property
    def id(self) -> str:
        """Hash of everything that decides what the cells hold, and where they are cut."""
        parts = {
            "version": 2,
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "cells": asdict(self.cells),
            "model": self.digest,
            "bands": self.bands,
            "values": self.values,
            "arguments": asdict(self.arguments),
            "device": [self.device, self.precision, self.compiled],
            "mask": self.mask and self.mask.digest,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def decision(self) -> Decision:
        """What a pixel's probabilities lead to."""
        return Decision(
            outputs=len(self.values),
            has_background=self.values[0] == 0,
            predict_background=self.arguments.predict_background,
            threshold=self.arguments.threshold,
            probability=self.arguments.probability,
        )

    @property
    def by_scores(self) -> bool:
        """Whether the largest of the network's own numbers decides, without probabilities."""
        given = self.arguments
        plain = given.blend == "crop" and not given.test_time_augmentation
        return plain and given.threshold is None and given.probability is None

    @property
    def dtype(self) -> str:
        """Pixel type of the output."""
        return self.arguments.probability or ("uint16" if max(self.values) > 254 else "uint8")

    @property
    def nodata(self) -> float:
        """Value of pixels without an answer."""
        if self.arguments.probability is not None:
            return self.decision.nothing
        return 65535 if self.dtype == "uint16" else 255

    def written(self, found: np.ndarray) -> np.ndarray:
        """What is written for a cell's result: class values for class indices, probabilities as they are."""
        if self.arguments.probability is not None:
            return found
        return np.array([*self.values, self.nodata], self.dtype)[found]

    @property
    def grid(self) -> Grid:
        """Grid of the output."""
        return self.raster.grid.cropped(self.cells.extent)

    @property
    def cell_count(self) -> int:
        return self.cells.whole.cells

    @property
    def batch_count(self) -> int:
        return self.cells.batch_count

    def batches(self) -> Iterator[CellBlock]:
        return self.cells.batches()


@dataclass(frozen=True)
class CellTiles:
    """Where the finished cells of a run are, for whoever puts them together."""

    cells: CellGrid | ScriptCells
    place: Place

    def within(self, window: Window) -> Iterator[tuple[str, Window]]:
        """What GDAL opens and its place on the output's grid, for each finished cell that meets a window."""
        extent, names = self.cells.extent, self.place.names()
        part = replace(window, row=window.row + extent.row, col=window.col + extent.col).clipped(
            (extent.row_stop, extent.col_stop)
        )
        for row, col in replace(self.cells, extent=part).whole.positions():
            name = tile_name(row, col)
            if name in names:
                cell = self.cells.window(row, col)
                yield (
                    self.place.gdal(name),
                    replace(cell, row=cell.row - extent.row, col=cell.col - extent.col),
                )


def tile_name(row: int, col: int) -> str:
    """File name of a finished cell."""
    return f"{cell_id(row, col)}.tif"
