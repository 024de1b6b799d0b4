"""What a detection writes: a layer of outlines, each with its class and how certain it is."""

from collections.abc import Iterable, Iterator

import numpy as np
import shapely

from rasterloom.pipeline.inference.objects.plan import ObjectPlan
from rasterloom.pipeline.inference.wanted import inside_mask_at
from rasterloom.pipeline.outputs.features import FeatureBlock
from rasterloom.pipeline.rasters.grid import Grid
from rasterloom.pipeline.seams.found import Found

CLASS, CLASS_VALUE, CONFIDENCE, CUT = "Class", "ClassValue", "Confidence", "Cut"

FIELDS = {CLASS: "text", CLASS_VALUE: "int32", CONFIDENCE: "float64", CUT: "bool"}
"""Attributes of what is found, and their types.

``Confidence`` goes from 0 to 100. ``Cut`` is true for a thing that goes on where nothing could see it: it is
longer than what neighbouring tiles see together.
"""

_DECIMALS = 4
"""Of a confidence: more than a float32 score has."""


def things_as_features(plan: ObjectPlan, parts: Iterable[Found]) -> Iterator[FeatureBlock]:
    """The things whose centre lies in the part of the raster that is searched, and in its mask.

    Parameters
    ----------
    plan
        The run.
    parts
        All things, in pixels of its raster.
    """
    names = np.array([info.name for info in plan.classes], object)
    values = np.array([info.value for info in plan.classes], np.int32)
    for part in parts:
        found = part.taken(_wanted(plan, part))
        if not len(found):
            continue
        kind = found.labels - 1
        columns = {
            CLASS: names[kind],
            CLASS_VALUE: values[kind],
            CONFIDENCE: (100 * found.scores.astype(np.float64)).round(_DECIMALS),
            CUT: found.cut,
        }
        yield FeatureBlock(outlines_on(plan.raster.grid, found), columns)


def outlines_on(grid: Grid, found: Found) -> np.ndarray:
    """(n,) polygons in the CRS of a grid: outlines where they are known, else boxes along the grid."""
    (x1, y1), (x2, y2) = found.boxes[:, :2].T, found.boxes[:, 2:].T
    corners = np.stack([[x1, y1], [x1, y2], [x2, y2], [x2, y1], [x1, y1]], axis=0)  # (5, 2, n)
    shapes = np.asarray(shapely.polygons(corners.transpose(2, 0, 1)), object)
    known = np.array([len(outline) > 0 for outline in found.outlines], bool)
    shapes[known] = shapely.from_wkb(found.outlines[known])
    a, b, c, d, e, f = grid.transform

    def placed(points: np.ndarray) -> np.ndarray:
        x, y = points.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    return np.asarray(shapely.orient_polygons(shapely.transform(shapes, placed)), object)


def _wanted(plan: ObjectPlan, found: Found) -> np.ndarray:
    extent, centres = plan.cells.extent, (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    x, y = centres.T
    inside = (x >= extent.col) & (x < extent.col_stop) & (y >= extent.row) & (y < extent.row_stop)
    if plan.mask is not None and inside.any():
        inside[inside] = inside_mask_at(plan.mask, plan.raster.grid, centres[inside])
    return np.asarray(inside)
