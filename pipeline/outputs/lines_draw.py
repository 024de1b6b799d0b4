"""From a network of pixels to lines on the ground, with what there is to say of each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyproj
import shapely

from rasterloom.pipeline.outputs.features import FeatureBlock
from rasterloom.pipeline.outputs.lines_network import Network
from rasterloom.pipeline.outputs.lines_trace import STEPS
from rasterloom.pipeline.rasters.grid import Grid

LENGTH, WIDTH, FROM, TO, PROBABILITY = "Length", "Width", "FromNode", "ToNode", "MeanProbability"

FIELDS = {LENGTH: "float64", WIDTH: "float64", FROM: "int64", TO: "int64"}
"""Attributes of a line, and their types; one more, PROBABILITY, where there is one."""

_KERNEL = np.array([1.0])
for _ in range(16):  # binomial numbers: a bell of two pixels' deviation
    _KERNEL = np.convolve(_KERNEL, [0.5, 0.5])
_HALF = len(_KERNEL) // 2


@dataclass(frozen=True, eq=False)
class Path:
    """An arc with what is known of its pixels."""

    pixels: np.ndarray
    """(n,) int64"""
    values: np.ndarray
    """(n, k) float64: width in the units of the ground and, where there is one, the probability."""


PathOf = Callable[[int], Path]
"""From the row of an arc to its path."""


@dataclass(frozen=True)
class Ground:
    """How pixels lie on the ground."""

    grid: Grid

    @property
    def columns(self) -> int:
        """Pixels in a row, as pixels are numbered: three at least, so that steps can be told apart."""
        return max(self.grid.width, 3)

    @property
    def scale(self) -> tuple[float, float]:
        """Metres, or units of the CRS where it does not measure in degrees, in a unit of x and one of y.

        Of degrees, this holds in the middle of the grid.
        """
        crs = pyproj.CRS.from_user_input(self.grid.crs) if self.grid.crs else None
        if crs is None or not crs.is_geographic:
            return 1.0, 1.0
        west, south, east, north = self.grid.bounds
        x, y, step = (west + east) / 2, min(max((south + north) / 2, -89.0), 89.0), 0.005
        ellipsoid = crs.get_geod()
        across = ellipsoid.inv(x - step, y, x + step, y)[2]
        along = ellipsoid.inv(x, y - step, x, y + step)[2]
        return across / (2 * step), along / (2 * step)

    @property
    def steps(self) -> tuple[float, ...]:
        """Length of a step of each of STEPS."""
        a, b, _, d, e, _ = self.grid.transform
        across, along = self.scale
        moves = [((a * col + b * row) * across, (d * col + e * row) * along) for row, col in STEPS]
        return tuple(float(np.hypot(x, y)) for x, y in moves)

    def measured(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) of the CRS in units in which lengths are told."""
        return points * np.array(self.scale)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How lines are drawn."""

    ground: Ground
    simplify: float
    """Furthest that a line may be from its pixels, in the units of lengths; 0 follows them."""
    smooth: bool = False
    """Whether the stairs of the pixels are smoothed away first."""
    names: tuple[str, ...] = (WIDTH,)
    """Fields of the values of paths."""


def draw_lines(network: Network, first: int, last: int, path_of: PathOf, how: Drawing) -> FeatureBlock:
    """Draw the lines from ``first`` up to ``last``.

    Lines that meet end in the very same point. Parameters as their types say.
    """
    geometry, nodes, values = [], network.nodes[first:last].copy(), []
    for number, line in enumerate(range(first, last)):
        path = _oriented(network, line, path_of)
        if network.rings[line]:
            nodes[number] = path.pixels[0]
        geometry.append(_drawn(network, path, how, ring=bool(network.rings[line])))
        values.append(_mean(path.values))
    shapes = shapely.simplify(np.asarray(geometry, object), how.simplify, preserve_topology=False)
    shapes = _whole_loops(shapes, geometry, nodes[:, 0] == nodes[:, 1], how.simplify)
    lengths = shapely.length(shapes)
    scale = how.ground.scale
    shapes = shapely.transform(shapes, lambda points: points / np.array(scale))
    means = np.asarray(values).reshape(-1, len(how.names))
    columns = {LENGTH: lengths, FROM: nodes[:, 0], TO: nodes[:, 1]}
    columns |= {name: means[:, place] for place, name in enumerate(how.names)}
    return FeatureBlock(_joined_exactly(shapes, network, first, last, how), columns)


def _oriented(network: Network, line: int, path_of: PathOf) -> Path:
    """The path of a line from its lower node; of a loop, in the direction whose pixels come first."""
    start, stop = network.starts[line : line + 2].tolist()
    arcs = network.arcs[start:stop].tolist()
    turned = network.turned[start:stop].tolist()
    path = _linked(arcs, turned, path_of)
    if network.nodes[line, 0] != network.nodes[line, 1]:
        return path
    other = _linked(arcs[::-1], [not turn for turn in turned[::-1]], path_of)
    if network.rings[line]:
        path, other = _opened(path), _opened(other)
    return path if path.pixels.tolist() <= other.pixels.tolist() else other


def _linked(arcs: list[int], turned: list[bool], path_of: PathOf) -> Path:
    pixels: list[np.ndarray] = []
    values: list[np.ndarray] = []
    for arc, turn in zip(arcs, turned, strict=True):
        path = path_of(arc)
        way = slice(None, None, -1) if turn else slice(None)
        begin = 1 if pixels else 0  # an arc begins where the one before it ends
        pixels.append(path.pixels[way][begin:])
        values.append(path.values[way][begin:])
    return Path(np.concatenate(pixels), np.concatenate(values))


def _opened(path: Path) -> Path:
    """A ring that begins at its first pixel."""
    begin = int(np.argmin(path.pixels))
    order = np.append(np.roll(np.arange(len(path.pixels) - 1), -begin), begin)
    return Path(path.pixels[order], path.values[order])


def _mean(values: np.ndarray) -> np.ndarray:
    # on a fixed grid of 2**-20 sums are exact, so that no order of adding shows
    return np.asarray(np.round(values * 2**20).sum(axis=0) / 2**20 / len(values))


def _drawn(network: Network, path: Path, how: Drawing, *, ring: bool) -> shapely.LineString:
    """A line in the units of lengths, through the middles of its pixels, or of nodes of many pixels."""
    places = _places(network, path.pixels, how.ground.columns)
    if how.smooth:
        places = _smoothed(places, ring=ring)
    return shapely.LineString(how.ground.measured(_on_ground(places, how.ground.grid)))


def _places(network: Network, pixels: np.ndarray, width: int) -> np.ndarray:
    """(n, 2) rows and columns of the points that pixels stand for."""
    places = np.stack(np.divmod(pixels, width), axis=1).astype(np.float64)
    if len(network.crowds):
        near = np.minimum(np.searchsorted(network.crowds, pixels), len(network.crowds) - 1)
        many = network.crowds[near] == pixels
        places[many] = network.centres[near[many]]
    return places


def _on_ground(places: np.ndarray, grid: Grid) -> np.ndarray:
    """(n, 2) x and y of the middles of places."""
    a, b, c, d, e, f = grid.transform
    row, col = places.T + 0.5
    return np.stack([a * col + b * row + c, d * col + e * row + f], axis=1)


def _smoothed(places: np.ndarray, *, ring: bool) -> np.ndarray:
    """The places averaged along the line; its ends stay, unless it is a ring without any."""
    if len(places) < 3:
        return places
    if ring:
        around = np.pad(places[:-1], ((_HALF, _HALF), (0, 0)), mode="wrap")
    else:
        around = np.pad(places, ((_HALF, _HALF), (0, 0)), mode="reflect", reflect_type="odd")
    smooth = np.stack([np.convolve(part, _KERNEL, mode="valid") for part in around.T], axis=1)
    if ring:
        return np.concatenate([smooth, smooth[:1]])
    smooth[[0, -1]] = places[[0, -1]]
    return smooth


def _whole_loops(
    shapes: np.ndarray, full: list[shapely.LineString], loops: np.ndarray, tolerance: float
) -> np.ndarray:
    """The shapes with loops simplified in two halves, so that none shrinks to a point or a line."""
    for place in np.flatnonzero(loops).tolist():
        points = shapely.get_coordinates(full[place])
        away = np.hypot(*(points - points[0]).T)
        middle = min(max(int(np.argmax(away)), 1), len(points) - 2)
        parts = [_bent(points[: middle + 1], tolerance), _bent(points[middle:], tolerance)]
        shapes[place] = shapely.LineString(np.concatenate([parts[0], parts[1][1:]]))
    return shapes


def _bent(points: np.ndarray, tolerance: float) -> np.ndarray:
    """Half of a loop, with its point that is furthest from both ends whatever is simplified."""
    if len(points) < 3:
        return points
    ends = [np.hypot(*(points - end).T) for end in (points[0], points[-1])]
    peak = min(max(int(np.argmax(np.minimum(*ends))), 1), len(points) - 2)
    parts = [
        shapely.get_coordinates(shapely.simplify(shapely.LineString(part), tolerance))
        for part in (points[: peak + 1], points[peak:])
    ]
    return np.concatenate([parts[0], parts[1][1:]])


def _joined_exactly(shapes: np.ndarray, network: Network, first: int, last: int, how: Drawing) -> np.ndarray:
    """The shapes with both ends in their nodes to the last bit, whatever scaling did to them."""
    grid, meets = how.ground.grid, ~network.rings[first:last]
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    ends = np.append(begins[1:], len(owner)) - 1
    for column, rows in enumerate((begins, ends)):
        nodes = network.nodes[first:last, column]
        points[rows[meets]] = _on_ground(_places(network, nodes[meets], how.ground.columns), grid)
    return np.asarray(shapely.linestrings(points, indices=owner), object)
