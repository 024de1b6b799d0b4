"""What extracting lines from a raster will do: pure, deterministic, small enough to send with every task."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from rasterloom.cluster.places import Place
from rasterloom.pipeline.inference.cells import CellBlock, CellGrid
from rasterloom.pipeline.inference.wanted import Mask
from rasterloom.pipeline.outputs.lines_draw import Ground
from rasterloom.pipeline.rasters.raster import Raster

PASSES = 32
"""Passes of thinning in one go. Bodies up to twice as wide are lines after the first."""

MOST_AROUND = 1023
"""Pixels around a cell, at most, in which its lines look for the side of their body."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """Which pixels lines are made of."""

    band: int
    """0-based."""
    threshold: float | None = None
    """Least probability; None: ``values`` say it."""
    scale: float = 1.0
    """From a pixel to its probability."""
    values: tuple[float, ...] = ()
    """Class values."""

    def held(self, pixels: np.ndarray) -> np.ndarray:
        """Which pixels belong to it."""
        if self.threshold is None:
            return np.isin(pixels, self.values)
        return np.asarray(pixels * np.float64(self.scale) >= self.threshold)


@dataclass(frozen=True, kw_only=True)
class LinesPlan:
    """Find the lines in one raster."""

    raster: Raster
    """On the grid it is read on."""
    cells: CellGrid
    body: Body
    labelled: bool
    """Whether bodies are told apart, to leave out small ones."""
    mask: Mask | None = None
    """Where bodies are looked for; None: everywhere."""
    tiles: Place | None = None
    """Folder that takes what cells have found; None while there is none."""

    @property
    def id(self) -> str:
        """Hash of everything that decides what cells find, and where they are cut."""
        parts = {
            "version": 1,
            "task": "lines",
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "cells": asdict(self.cells),
            "body": asdict(self.body),
            "labelled": self.labelled,
            "mask": self.mask and self.mask.digest,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def ground(self) -> Ground:
        """How its pixels lie on the ground."""
        return Ground(self.raster.grid)

    @property
    def place(self) -> Place:
        """Folder of what cells have found, of a plan that has been brought home."""
        assert self.tiles is not None, "the plan has been brought home"
        return self.tiles

    @property
    def cell_count(self) -> int:
        return self.cells.whole.cells

    @property
    def batch_count(self) -> int:
        return self.cells.batch_count

    def batches(self) -> Iterator[CellBlock]:
        return self.cells.batches()
