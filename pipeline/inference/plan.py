"""What a pixel classification will do: pure, deterministic, small enough to send with every task."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rasterloom.pipeline.inference.cells import CellBlock, CellGrid
from rasterloom.pipeline.rasters.raster import Raster


@dataclass(frozen=True)
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
    batch_size: int
    """Chips in one forward pass; every pass has exactly so many."""
    predict_background: bool
    """Whether output 0 may win."""
    dtype: str
    """Pixel type of the class map."""
    nodata: int
    """Value of pixels that were not classified."""
    tiles: str
    """Folder that takes the finished cells."""
    device: str
    """``cpu`` or ``cuda``."""

    @property
    def id(self) -> str:
        """Hash of everything that decides what the cells hold, and where they are cut."""
        parts = {
            "version": 1,
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "cells": asdict(self.cells),
            "model": self.digest,
            "bands": self.bands,
            "batch_size": self.batch_size,
            "predict_background": self.predict_background,
            "values": self.values,
            "device": self.device,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def cell_count(self) -> int:
        return self.cells.whole.cells

    @property
    def batch_count(self) -> int:
        return self.cells.batch_count

    def batches(self) -> Iterator[CellBlock]:
        return self.cells.batches()
