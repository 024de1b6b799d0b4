"""What a detection will do: pure, deterministic, small enough to send with every task."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rasterloom.cluster.places import Place
from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.inference.cells import CellBlock, CellGrid
from rasterloom.pipeline.inference.objects.arguments import ObjectArguments
from rasterloom.pipeline.inference.wanted import Mask
from rasterloom.pipeline.rasters.grid import Grid
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.seams.candidates import ChipViews
from rasterloom.pipeline.seams.resolve import SeamRules
from rasterloom.pipeline.seams.tree import CellTree


@dataclass(frozen=True, kw_only=True)
class Function:
    """An inference function of a package's author, in place of a network."""

    name: str
    """What messages call its package."""
    scalars: tuple[tuple[str, str], ...]
    """What it is told, by name."""


@dataclass(frozen=True, kw_only=True)
class ObjectPlan:
    """Find the things in one raster with one model."""

    raster: Raster
    """On the grid it is read on."""
    cells: CellGrid
    package: str
    """Path of the model package, where every worker can read it."""
    digest: str
    """Content hash of the model."""
    bands: tuple[int, ...]
    """0-based bands of the raster, in the network's order."""
    classes: tuple[ClassInfo, ...]
    """What labels stand for, from 1."""
    arguments: ObjectArguments
    device: str
    """``cpu`` or ``cuda``."""
    precision: str = "float32"
    """Type of the network's arithmetic."""
    function: Function | None = None
    """What finds the things where it is no network."""
    mask: Mask | None = None
    """Where things are wanted; None: everywhere."""
    tiles: Place | None = None
    """Folder that takes what cells have found; None while there is none."""

    @property
    def id(self) -> str:
        """Hash of everything that decides what is found, and where cells are cut."""
        parts = {
            "version": 1,
            "task": "objects",
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "cells": asdict(self.cells),
            "model": self.digest,
            "bands": self.bands,
            "classes": [asdict(info) for info in self.classes],
            "arguments": asdict(self.arguments),
            "device": [self.device, self.precision],
            "function": self.function and self.function.scalars,
            "mask": self.mask and self.mask.digest,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def views(self) -> ChipViews:
        """Where its chips look."""
        return ChipViews(tile=self.cells.tile, padding=self.cells.padding, shape=self.cells.shape)

    @property
    def rules(self) -> SeamRules:
        """How what they find becomes things."""
        given = self.arguments
        return SeamRules(self.views, given.nms_overlap, given.exclude_pad_detections)

    @property
    def tree(self) -> CellTree:
        """Its cells, for whoever joins what they have found."""
        whole = self.cells.whole
        return CellTree(
            row=whole.row, col=whole.col, rows=whole.rows, cols=whole.cols, strides=self.cells.strides
        )

    @property
    def grid(self) -> Grid:
        """Grid of the part that is searched."""
        return self.raster.grid.cropped(self.cells.extent)

    @property
    def cell_count(self) -> int:
        return self.cells.whole.cells

    @property
    def batch_count(self) -> int:
        return self.cells.batch_count

    def batches(self) -> Iterator[CellBlock]:
        return self.cells.batches()
