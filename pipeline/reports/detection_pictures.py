"""Precision-recall curves, and the ground around single objects, as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from pyproj import Transformer

from rasterloom.models.errors import CrsError
from rasterloom.pipeline.metrics.objects import RECALLS
from rasterloom.pipeline.rasters.grid import Bounds, Grid, project_bounds
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.reports.detection_layers import ObjectLayer
from rasterloom.pipeline.reports.detection_scores import DetectionAccuracy, Verdicts
from rasterloom.pipeline.reports.pictures import Picture, figure_picture
from rasterloom.pipeline.reports.views import picture_grid, scene_picture

CHIPS = 12
"""Objects of a kind that are shown."""

TRUE_COLOR, FOUND_COLOR = "#00c853", "#ff6d00"
"""Outlines of true objects and of detections."""

_AROUND = 3.0
"""Side of the ground that is shown, in sides of the object."""
_LEAST = 48
"""The same in pixels of the raster, at least."""
_SIDE = 256
"""Longer side of a picture, in pixels."""
_MOST_CURVES = 10


@dataclass(frozen=True, eq=False)
class Scene:
    """A raster with the objects that were compared on it."""

    raster: Raster
    crs: str | None
    """WKT of the objects."""
    detected: ObjectLayer
    truth: ObjectLayer
    names: Sequence[str]
    """Of class 1, 2, .."""


def plot_curves(accuracy: DetectionAccuracy) -> Figure:
    """Precision over recall, a line for each class; of many, those with the most true objects."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    counts = {score.name: score.truth for score in accuracy.per_class}
    shown = sorted(accuracy.curves, key=lambda name: -counts[name])[:_MOST_CURVES]
    for name in shown:
        axes.step(RECALLS, accuracy.curves[name], where="post", linewidth=1.8, label=name)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_title(f"Overlap of {accuracy.min_iou:g} or more", fontsize=10, loc="left")
    axes.grid(color="#e4e7eb", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if shown:
        axes.legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def curves_picture(accuracy: DetectionAccuracy) -> Picture:
    """:func:`plot_curves` as a picture."""
    told = ", ".join(f"{s.name} {s.average_precision:.2f}" for s in accuracy.per_class if s.truth)
    left = len(accuracy.curves) - _MOST_CURVES
    more = f"; {left} classes with fewer objects are left out" if left > 0 else ""
    alt = f"Precision over recall of each class. Average precision: {told}."
    return figure_picture(plot_curves(accuracy), alt, f"Precision over recall{more}")


def worst_misses(truth: ObjectLayer, verdicts: Verdicts) -> np.ndarray:
    """Positions of the largest true objects that were not found."""
    rows = np.flatnonzero(verdicts.missed)
    return rows[np.argsort(-_areas(truth.boxes[rows]), kind="stable")][:CHIPS]


def worst_alarms(detected: ObjectLayer, verdicts: Verdicts) -> np.ndarray:
    """Positions of the most certain detections that are wrong; of the largest where none has a confidence."""
    rows = np.flatnonzero(verdicts.counted & (verdicts.given < 0))
    weight = _areas(detected.boxes[rows]) if detected.scores is None else detected.scores[rows]
    return rows[np.argsort(-weight, kind="stable")][:CHIPS]


def object_chips(scene: Scene, layer: ObjectLayer, rows: np.ndarray, overlaps: np.ndarray) -> list[Picture]:
    """The ground around objects, with the outlines of all boxes there; those off the raster are left out.

    Parameters
    ----------
    overlaps
        (n,) the largest overlap of each object of the layer with one of the other.
    """
    chips = []
    for row in rows.tolist():
        grid = _ground(scene, layer.boxes[row])
        if grid is None:
            continue
        name = scene.names[layer.labels[row] - 1]
        certain = "" if layer.scores is None else f", confidence {layer.scores[row]:.3g}"
        caption = f"{name}{certain}, largest overlap {overlaps[row]:.2f}"
        figure = _drawn(scene, grid, (layer, row))
        chips.append(figure_picture(figure, f"The image around one {caption}.", caption))
    return chips


def _ground(scene: Scene, box: np.ndarray) -> Grid | None:
    """Pixels of a picture around a box; None where the raster has none."""
    native = scene.raster.grid
    try:
        west, south, east, north = _projected(scene, box, native)
    except CrsError:
        return None
    least = _LEAST * min(native.cell_size)
    half = max(_AROUND * max(east - west, north - south), least) / 2
    x, y = (west + east) / 2, (south + north) / 2
    window = native.window_of((x - half, y - half, x + half, y + half))
    if window.height < 2 or window.width < 2:
        return None
    return picture_grid(native.cropped(window), _SIDE)


def _projected(scene: Scene, box: np.ndarray, grid: Grid) -> Bounds:
    west, south, east, north = box.tolist()
    if scene.crs is None:
        return west, south, east, north
    return project_bounds((west, south, east, north), scene.crs, grid.crs)


def _drawn(scene: Scene, grid: Grid, chosen: tuple[ObjectLayer, int]) -> Figure:
    """The ground with all boxes on it; ``chosen`` is the layer and the position of the one it is about."""
    picture = scene_picture(scene.raster, grid)
    height, width = picture.shape[:2]
    inches = _SIDE / 160 / max(height, width)
    figure = Figure(figsize=(inches * width, inches * height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    for layer, color in ((scene.truth, TRUE_COLOR), (scene.detected, FOUND_COLOR)):
        lines = _outlines(scene, grid, _near(scene, layer, grid))
        axes.add_collection(LineCollection(lines, colors=color, linewidths=0.9, alpha=0.8))
    color = TRUE_COLOR if chosen[0] is scene.truth else FOUND_COLOR
    line = _outlines(scene, grid, chosen[0].boxes[chosen[1]][None])
    for shade, thick in (("black", 3.4), (color, 2.0)):  # on top, and told from all others
        axes.add_collection(LineCollection(line, colors=shade, linewidths=thick))
    return figure


def _near(scene: Scene, layer: ObjectLayer, grid: Grid) -> np.ndarray:
    west, south, east, north = grid.bounds
    if scene.crs is not None:
        west, south, east, north = project_bounds(grid.bounds, grid.crs, scene.crs)
    boxes = layer.boxes
    meets = (boxes[:, 0] < east) & (boxes[:, 2] > west) & (boxes[:, 1] < north) & (boxes[:, 3] > south)
    return boxes[meets]


def _outlines(scene: Scene, grid: Grid, boxes: np.ndarray) -> Any:
    """(n, 5, 2): columns and rows of the closed outline of each box in the picture."""
    x: Any = boxes[:, [0, 2, 2, 0, 0]]
    y: Any = boxes[:, [1, 1, 3, 3, 1]]
    if scene.crs is not None:
        x, y = Transformer.from_crs(scene.crs, grid.crs, always_xy=True).transform(x, y)
    columns, rows = ~grid.affine @ (x, y)
    return np.stack([columns, rows], axis=2) - 0.5


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
