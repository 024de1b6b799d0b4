"""A warped lattice that tiles the plane: parcels lie in its cells, roads along some of its lines."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rasterloom.pipeline.landscape.features import BLOCK, snap
from rasterloom.pipeline.landscape.hashing import Purpose, lattice
from rasterloom.pipeline.landscape.noise import noise_points

CELLS = 6
"""Lattice cells along one side of a block."""

SPACING = BLOCK / CELLS
"""Mean side of a cell in metres."""

ROAD_EVERY = 3
"""Every third lattice line can carry a road; its edges are curves."""

STEPS = 8
"""Straight pieces of one edge."""

_WARPS = ((1000.0, 80.0), (480.0, 26.0))
"""Wavelength and standard deviation, in metres, of the displacement that bends the lattice."""

_JITTER = 0.2
"""Largest extra displacement of a node off the roads, in cells."""


@dataclass(frozen=True)
class Mesh:
    """Edges of a rectangle of lattice cells as snapped lines of ``STEPS`` pieces, in metres."""

    across: np.ndarray
    """(rows + 1, cols, STEPS + 1, 2): from node (i, j) to node (i, j + 1)."""
    down: np.ndarray
    """(rows, cols + 1, STEPS + 1, 2): from node (i, j) to node (i + 1, j)."""


@lru_cache(maxsize=512)
def mesh(seed: int, row: int, col: int, cells: int) -> Mesh:
    """The edges of ``cells`` x ``cells`` lattice cells whose first node is (row, col).

    Shared edges are the same to the last bit whichever rectangle they are asked for with.
    """
    rows, cols = np.arange(row - 1, row + cells + 2), np.arange(col - 1, col + cells + 2)
    points = _nodes(seed, rows, cols)
    bent_rows, bent_cols = rows % ROAD_EVERY == 0, cols % ROAD_EVERY == 0
    across = _edges(points, bent_rows)[1:-1]
    down = _edges(points.transpose(1, 0, 2), bent_cols)[1:-1].transpose(1, 0, 2, 3)
    return Mesh(across, down)


def _nodes(seed: int, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Positions (rows, cols, 2) of lattice nodes, in metres."""
    row, col = np.meshgrid(rows, cols, indexing="ij")
    x, y = col * SPACING, row * SPACING
    shift_x, shift_y = np.zeros(x.shape), np.zeros(x.shape)
    for wavelength, deviation in _WARPS:
        shift_x += deviation * noise_points(seed, Purpose.WARP_X, y, x, wavelength)
        shift_y += deviation * noise_points(seed, Purpose.WARP_Y, y, x, wavelength)
    # A node on a road may slide along it, not leave it; a crossing stays.
    free_x, free_y = col % ROAD_EVERY != 0, row % ROAD_EVERY != 0
    shift_x += free_x * (_JITTER * SPACING) * lattice(seed, Purpose.JITTER_X, row, col)
    shift_y += free_y * (_JITTER * SPACING) * lattice(seed, Purpose.JITTER_Y, row, col)
    return np.stack([x + shift_x, y + shift_y], axis=-1)


def _edges(points: np.ndarray, bent: np.ndarray) -> np.ndarray:
    """Lines (lines, nodes - 3, STEPS + 1, 2) between the inner nodes (lines, nodes, 2) of each line.

    Only sums and products: they round the same way at every position of an array, so that two
    neighbours that compute their common edge apart agree.
    """
    before, start, stop, after = points[:, :-3], points[:, 1:-2], points[:, 2:-1], points[:, 3:]
    t = (np.arange(STEPS + 1) / STEPS)[:, None]
    a, b, c, d = (part[:, :, None, :] for part in (before, start, stop, after))
    straight = b + (c - b) * t
    # Catmull-Rom spline through the nodes.
    curve = b + 0.5 * t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * (b - c) + d - a)))
    lines = np.where(bent[:, None, None, None], curve, straight)
    lines[:, :, 0], lines[:, :, -1] = start, stop
    return snap(lines)
