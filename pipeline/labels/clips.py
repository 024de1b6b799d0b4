"""Features clipped to chips: boxes, areas and pixels, for all chips of a batch at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.labels.outlines import expanded, united
from rasterloom.pipeline.labels.runs import runs_of, to_pixels
from rasterloom.pipeline.rasters.grid import Grid, Window

NOTHING = 1e-6
"""Square pixels. What covers less of a chip does not lie in it: rounding alone can leave as much."""

_VERTICES = 1_000_000
"""Vertices that are clipped at once."""

_HEAVY = 1000
"""Vertices from which on a feature is not moved as a whole for each chip that it meets."""

_RUNS = 2_000_000
"""Runs of pixels that are cut at once."""


@dataclass(frozen=True, eq=False)
class Clips:
    """What lies of features in chips: a row for each pair of them, by chip and then by feature."""

    chip: np.ndarray
    """(m,) position of the chip."""
    feature: np.ndarray
    """(m,) position of the feature among the labels."""
    boxes: np.ndarray
    """(m, 4) float32: bounds of the clipped feature in pixels of the chip."""
    pixels: np.ndarray
    """(m,) float64: area inside the chip, in square pixels."""
    shares: np.ndarray
    """(m,) float64: the same as part of the whole feature's."""

    def __len__(self) -> int:
        return len(self.chip)

    def kept(self, which: np.ndarray) -> "Clips":
        """Some of the rows."""
        return Clips(
            self.chip[which], self.feature[which], self.boxes[which], self.pixels[which], self.shares[which]
        )


def clip_to_chips(labels: Labels, grid: Grid, windows: Sequence[Window]) -> Clips:
    """Clip features to chips, in pixels of a grid, so that a turned grid cuts along its own rows.

    Features without area, and those that only touch a chip, are not in it. A pair depends on its feature
    and its chip alone, whatever else is clipped in the same call.
    """
    chip, feature = _pairs(labels, grid, windows)
    near, place = np.unique(feature, return_inverse=True)
    shapes = _in_pixels(labels.geometries[near], grid)
    bounds, whole = shapely.bounds(shapes), shapely.area(shapes)
    origin = np.array([(w.col, w.row) for w in windows], np.float64).reshape(-1, 2)
    size = np.array([(w.width, w.height) for w in windows], np.float64).reshape(-1, 2)

    boxes = bounds[place] - np.tile(origin, 2)[chip]
    meets = (boxes[:, :2] < size[chip]).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1) & (whole[place] > 0)
    chip, feature, place, boxes = chip[meets], feature[meets], place[meets], boxes[meets]
    pixels = whole[place]
    cut = np.flatnonzero((boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > size[chip]).any(axis=1))
    boxes[cut], pixels[cut] = _clipped(shapes, place[cut], origin[chip[cut]], size[chip[cut]])

    boxes = boxes.astype(np.float32)
    shares = np.minimum(pixels / whole[place], 1.0)
    clips = Clips(chip, feature, boxes, pixels, shares)
    return clips.kept((pixels > NOTHING) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1))


def clip_runs(
    clips: Clips, labels: Labels, grid: Grid, windows: Sequence[Window]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of clipped features: the number of runs of each, (m,) int64, and all runs, (r, 2) int32."""
    features, place = np.unique(clips.feature, return_inverse=True)
    if not len(features):
        return np.zeros(0, np.int64), np.zeros((0, 2), np.int32)
    around = _around([windows[chip] for chip in np.unique(clips.chip)])
    found = runs_of(labels.geometries[features], grid, around)
    corner = np.array([(w.row, w.col, w.height, w.width) for w in windows], np.int64)
    # of each feature only the rows of the chip are cut
    lines = found.feature * around.height + found.row - around.row
    order = np.argsort(lines, kind="stable")
    top = place * around.height + corner[clips.chip, 0] - around.row
    first = np.searchsorted(lines[order], top)
    counts = np.searchsorted(lines[order], top + corner[clips.chip, 2]) - first
    parts = []
    for pairs in _blocks(counts, _RUNS):
        index = order[expanded(first[pairs], counts[pairs])]
        owner = np.repeat(pairs, counts[pairs])
        row, col, _, width = corner[clips.chip[owner]].T
        start = np.maximum(found.start[index] - col, 0)
        stop = np.minimum(found.stop[index] - col, width)
        inside = start < stop
        ahead = ((found.row[index] - row) * width)[inside]
        parts.append((owner[inside], ahead + start[inside], ahead + stop[inside]))
    owner, start, stop = (np.concatenate(column) for column in zip(*parts, strict=True))
    return united(owner, start, stop, len(clips))


def _pairs(labels: Labels, grid: Grid, windows: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
    """Chips and the features whose bounding box meets theirs, by chip and then in file order."""
    if not len(windows) or not len(labels):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    a, b, c, d, e, f = grid.transform
    sides = np.array([(w.col, w.col_stop, w.row, w.row_stop) for w in windows], np.float64)
    cols, rows = sides[:, [0, 0, 1, 1]], sides[:, [2, 3, 2, 3]]  # (chip, corner)
    xs, ys = a * cols + b * rows + c, d * cols + e * rows + f
    chip, feature = labels.tree.query(shapely.box(xs.min(1), ys.min(1), xs.max(1), ys.max(1)))
    order = np.lexsort((feature, chip))
    return chip[order].astype(np.int64), feature[order].astype(np.int64)


def _in_pixels(geometries: np.ndarray, grid: Grid) -> np.ndarray:
    """Geometries with columns and rows for coordinates; what is no area is left out of collections."""
    moved = shapely.transform(geometries, lambda xy: to_pixels(xy, grid))
    mixed = shapely.get_type_id(moved) == 7
    if mixed.any():
        moved[mixed] = [_areas_of(geometry) for geometry in moved[mixed]]
    return np.asarray(moved, object)


def _clipped(
    shapes: np.ndarray, place: np.ndarray, origin: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (m, 4) and areas (m,) of shapes inside rectangles, in pixels from the rectangles' corners."""
    boxes, pixels = np.full((len(place), 4), np.nan), np.zeros(len(place))
    vertices = shapely.get_num_coordinates(shapes)[place]
    heavy = vertices > _HEAVY
    for shape in np.unique(place[heavy]):
        for pair, box, area in _clipped_heavy(shapes[shape], np.flatnonzero(place == shape), origin, size):
            boxes[pair], pixels[pair] = box, area
    light = np.flatnonzero(~heavy)
    for positions in _blocks(vertices[light], _VERTICES):
        block = light[positions]
        moved = _moved(shapes[place[block]], origin[block])
        pixels[block] = _areas_inside(_edges(moved), size[block])
        for extent in np.unique(size[block], axis=0):
            same = (size[block] == extent).all(axis=1)
            boxes[block[same]] = _bounds_inside(moved[same], pixels[block[same]], *extent.tolist())
    return boxes, pixels


def _clipped_heavy(
    shape: shapely.Geometry, pairs: np.ndarray, origin: np.ndarray, size: np.ndarray
) -> Iterator[tuple[int, np.ndarray, float]]:
    """The same for the rectangles that one shape of many vertices meets: only those near each are moved."""
    first, second, _ = _edges(np.array([shape], object))
    top, bottom = np.minimum(first[:, 1], second[:, 1]), np.maximum(first[:, 1], second[:, 1])
    for pair in pairs.tolist():
        corner, extent = origin[pair], size[pair : pair + 1]
        # rows beyond the rectangle add nothing to the integral
        rows = np.flatnonzero((bottom > corner[1]) & (top < corner[1] + extent[0, 1]))
        edges = first[rows] - corner, second[rows] - corner, np.zeros(len(rows), np.int64)
        area = _areas_inside(edges, extent)
        around = shapely.clip_by_rect(shape, *(corner - 1), *(corner + extent[0] + 1))
        near = _moved(np.array([around], object), corner[None])
        if abs(_areas_inside(_edges(near), extent) - area)[0] > _tolerance(area)[0]:
            near = _moved(np.array([shape], object), corner[None])
        yield pair, _bounds_inside(near, area, *extent[0].tolist())[0], float(area[0])


def _moved(shapes: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Shapes with their own chip's corner as origin, in a new array."""
    moved = shapes.copy()
    xy, index = shapely.get_coordinates(moved, return_index=True)
    return np.asarray(shapely.set_coordinates(moved, xy - origin[index]), object)


def _edges(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both ends (e, 2) of all edges of polygons, insides always on the same hand, and whose each is (e,)."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(shapely.orient_polygons(parts), return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    edge = np.flatnonzero(ring[:-1] == ring[1:])
    return xy[edge], xy[edge + 1], owner[part[ring[edge]]]


def _areas_inside(edges: tuple[np.ndarray, np.ndarray, np.ndarray], size: np.ndarray) -> np.ndarray:
    """Area of each shape inside its rectangle, from the integral of the column along the outline.

    Columns are held inside the rectangle and rows beyond it are left out, so that no geometry is built: what
    only touches the rectangle gives exactly 0.
    """
    (x1, y1), (x2, y2), shape = edges[0].T, edges[1].T, edges[2]
    width, height = size[shape].T
    from_y, to_y = np.clip(y1, 0, height), np.clip(y2, 0, height)
    slope = (x2 - x1) / np.where(y1 == y2, 1, y2 - y1)
    from_x, to_x = x1 + (from_y - y1) * slope, x2 + (to_y - y2) * slope
    low, high = np.minimum(from_x, to_x), np.maximum(from_x, to_x)
    left, right = np.clip(low, 0, width), np.clip(high, 0, width)
    beyond = np.maximum(high - np.maximum(low, width), 0) * width
    flat = high <= low
    inside = (right - left) * (left + right) / 2
    column = np.where(flat, left, (inside + beyond) / np.where(flat, 1, high - low))
    return np.abs(np.bincount(shape, column * (to_y - from_y), minlength=len(size)))


def _bounds_inside(shapes: np.ndarray, areas: np.ndarray, width: float, height: float) -> np.ndarray:
    """Bounds of what lies of shapes in a rectangle, as far as it has an area; NaN for nothing."""
    clipped = np.asarray(shapely.clip_by_rect(shapes, 0, 0, width, height), object)
    # GEOS clips fast and now and then wrongly where vertices lie on the rectangle (seen with 3.14)
    wrong = np.flatnonzero(np.abs(shapely.area(clipped) - areas) > _tolerance(areas))
    if len(wrong):
        rectangle = shapely.box(0, 0, width, height)
        clipped[wrong] = shapely.intersection(shapely.make_valid(shapes[wrong]), rectangle)
    mixed = np.flatnonzero(shapely.get_type_id(clipped) == 7)
    if len(mixed):
        clipped[mixed] = [_areas_of(geometry) for geometry in clipped[mixed]]
    bounds = shapely.bounds(clipped)
    return np.clip(bounds, 0, [width, height, width, height])


def _tolerance(areas: np.ndarray) -> np.ndarray:
    """How far areas that are meant to be the same may lie apart."""
    return np.asarray(1e-6 * (1 + areas))


def _areas_of(collection: shapely.Geometry) -> shapely.Geometry:
    """The polygons of a collection."""
    parts = np.array([collection], object)
    while (shapely.get_type_id(parts) > 3).any():
        parts = shapely.get_parts(parts)
    return shapely.MultiPolygon(parts[shapely.get_dimensions(parts) == 2].tolist())


def _around(windows: Sequence[Window]) -> Window:
    """The smallest window that holds all of some."""
    row, col = min(w.row for w in windows), min(w.col for w in windows)
    row_stop, col_stop = max(w.row_stop for w in windows), max(w.col_stop for w in windows)
    return Window(row, col, row_stop - row, col_stop - col)


def _blocks(weights: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Positions in order, as many at a time as weigh no more than ``most``, but at least one."""
    block = (np.cumsum(weights) // most).astype(np.int64)
    yield from np.split(np.arange(len(weights)), np.flatnonzero(np.diff(block)) + 1)
