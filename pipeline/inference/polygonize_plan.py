"""What polygonising does: cells first, then squares of cells, level by level, each a plan of the driver."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import shapely

from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.places import Place
from rasterloom.pipeline.inference.wanted import Mask, inside_mask
from rasterloom.pipeline.outputs.polygons import Patch
from rasterloom.pipeline.outputs.polygons_join import join
from rasterloom.pipeline.outputs.polygons_rings import Shapes, settle
from rasterloom.pipeline.outputs.polygons_simplify import simplify
from rasterloom.pipeline.outputs.polygons_trace import SHARE, trace
from rasterloom.pipeline.outputs.regular import right_angled
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.read import read_window
from rasterloom.pipeline.seams.columns import columns_from_bytes, columns_to_bytes
from rasterloom.pipeline.seams.nodes import CellTree, Node, NodeBlock


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """A raster that says how probable the class of each pixel is."""

    raster: Raster
    """On the grid of the classes."""
    bands: tuple[tuple[int, int], ...]
    """Class values and the 0-based band of each; empty where the first band is about any class."""
    scale: float
    """What a stored value is multiplied by."""


@dataclass(frozen=True, kw_only=True)
class PolygonRules:
    """How pixels become outlines."""

    values: tuple[int, ...] | None
    """Class values that are wanted; None: all but nodata and ``without``."""
    without: tuple[int, ...] = ()
    """Class values that stand for nothing."""
    connectivity: int = 4
    minimum_area: float = 0.0
    """In square units of the CRS."""
    tolerance: float = 0.0
    """Of simplified borders, in units of the CRS."""
    regular: float = 0.0
    """Of right-angled outlines, in units of the CRS; 0: outlines stay as they are."""


@dataclass(frozen=True, kw_only=True)
class PolygonPlan:
    """One level of the work: cells at level -1, squares of cells above."""

    raster: Raster
    """Of classes, in its first band."""
    side: int
    """Of a cell, in pixels."""
    rules: PolygonRules
    certainty: Certainty | None = None
    mask: Mask | None = None
    level: int = -1
    work: Place | None = None
    """Folder that takes what is settled, and what is left open."""

    @property
    def run_id(self) -> str:
        """Hash of everything that decides the result, and where cells are cut."""
        sure = self.certainty
        parts = {
            "version": 1,
            "task": "polygons",
            "raster": [self.raster.etag, asdict(self.raster.grid), self.raster.resampling],
            "side": self.side,
            "rules": asdict(self.rules),
            "certainty": sure and [sure.raster.etag, asdict(sure.raster.grid), sure.bands, sure.scale],
            "mask": self.mask and self.mask.digest,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.run_id} {self.level}".encode()).hexdigest()

    @property
    def tree(self) -> CellTree:
        """Its cells, and the squares of them."""
        height, width = self.raster.grid.shape
        return CellTree(row=0, col=0, rows=-(-height // self.side), cols=-(-width // self.side), strides=1)

    @property
    def batch_count(self) -> int:
        return self.tree.block_count(self.level)

    @property
    def cell_count(self) -> int:
        rows, cols = self.tree.shape(self.level)
        return rows * cols

    def batches(self) -> Iterator[NodeBlock]:
        return self.tree.blocks(self.level)

    def window(self, node: Node) -> Window:
        """Pixels of a cell."""
        place = Window(node.row * self.side, node.col * self.side, self.side, self.side)
        return place.clipped(self.raster.grid.shape)


@dataclass(frozen=True, eq=False)
class Outlines:
    """Features on the ground, one in each row."""

    geometry: np.ndarray
    """(n,) of shapely geometries in the CRS of the raster."""
    values: np.ndarray
    areas: np.ndarray
    """Square units of the CRS."""
    probability: np.ndarray
    """Mean over the pixels that have one, 0..1; NaN where none has."""

    def to_bytes(self) -> bytes:
        return columns_to_bytes(
            {
                "values": self.values,
                "areas": self.areas,
                "probability": self.probability,
                "outlines": np.asarray(shapely.to_wkb(self.geometry), object),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Outlines":
        columns = columns_from_bytes(data)
        shapes = np.asarray(shapely.from_wkb(columns["outlines"]), object)
        return cls(shapes, columns["values"], columns["areas"], columns["probability"])


def settle_nodes(plan: PolygonPlan, batch: NodeBlock) -> BatchResult:
    """Settle some nodes: write the features that are whole, and what is left open. Safe to repeat.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OSError
        If a file cannot be read or written.
    """
    assert plan.work is not None, "the plan was given its folder before it ran"
    started, told, pixels = time.perf_counter(), 0, 0
    rules, grid = plan.rules, plan.raster.grid
    for node in batch.nodes():
        patch = _patch(plan, node)
        if rules.tolerance:
            patch = simplify(patch, rules.tolerance, _linear(grid))
        least = rules.minimum_area / _pixel_area(grid)
        shapes, rest = settle(patch, least_pixels=least, exact=not rules.tolerance)
        if len(shapes):
            (plan.work / "parts").write(f"{node.id}.part", outlines_of(shapes, grid, rules).to_bytes())
        if plan.level + 1 < plan.tree.levels:
            (plan.work / "open").write(f"{node.id}.open", rest.to_bytes())
        told += len(shapes)
        pixels += patch.window.height * patch.window.width if plan.level < 0 else 0
    seconds = time.perf_counter() - started
    return BatchResult(batch.id, batch.cells, pixels, seconds, summary={"features": told})


def outlines_of(shapes: Shapes, grid: Grid, rules: PolygonRules) -> Outlines:
    """Shapes in pixels as features on the ground."""
    a, b, c, d, e, f = grid.transform

    def placed(points: np.ndarray) -> np.ndarray:
        x, y = points.T
        return np.stack([c + a * x + b * y, f + d * x + e * y], axis=1)

    geometry = np.asarray(shapely.orient_polygons(shapely.transform(shapes.outlines, placed)), object)
    areas = shapes.pixels * _pixel_area(grid)
    if rules.regular:
        geometry = np.array([right_angled(shape, rules.regular) for shape in geometry], object)
    if rules.regular or rules.tolerance:
        areas = shapely.area(geometry)
    known = shapes.sure > 0
    probability = np.full(len(shapes), np.nan)
    probability[known] = shapes.shares[known] * SHARE / shapes.sure[known]
    return Outlines(geometry, shapes.values, areas, probability)


def _pixel_area(grid: Grid) -> float:
    a, b, _, d, e, _ = grid.transform
    return abs(a * e - b * d)


def _linear(grid: Grid) -> np.ndarray:
    """(2, 2): a step in pixels times this is the step on the ground."""
    a, b, _, d, e, _ = grid.transform
    return np.array([[a, d], [b, e]])


def _patch(plan: PolygonPlan, node: Node) -> Patch:
    if node.level < 0:
        return _traced(plan, plan.window(node))
    assert plan.work is not None, "the plan was given its folder before it ran"
    below = plan.work / "open"
    parts = [Patch.from_bytes(below.read(f"{child.id}.open")) for child in plan.tree.children(node)]
    return join(parts, connectivity=plan.rules.connectivity)


def _traced(plan: PolygonPlan, window: Window) -> Patch:
    pixels, wanted = read_window(plan.raster, window, [0])
    values = pixels[0]
    if plan.rules.values is not None:
        wanted = wanted & np.isin(values, plan.rules.values)
    elif plan.rules.without:
        wanted = wanted & ~np.isin(values, plan.rules.without)
    if plan.mask is not None:
        wanted = wanted & inside_mask(plan.mask, plan.raster.grid, window)
    shares = None if plan.certainty is None else _shares(plan.certainty, values, window)
    return trace(
        values,
        wanted,
        window,
        plan.raster.grid.shape,
        connectivity=plan.rules.connectivity,
        shares=shares,
    )


def _shares(certainty: Certainty, values: np.ndarray, window: Window) -> np.ndarray:
    """Probability of each pixel's class, NaN where nobody knows it."""
    bands = sorted({band for _, band in certainty.bands}) or [0]
    pixels, valid = read_window(certainty.raster, window, bands)
    shares = np.full(values.shape, np.nan)
    if not certainty.bands:
        shares[valid] = pixels[0][valid]
    for value, band in certainty.bands:
        here = valid & (values == value)
        shares[here] = pixels[bands.index(band)][here]
    return shares * certainty.scale
