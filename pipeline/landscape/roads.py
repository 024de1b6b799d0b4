"""Roads along every third line of the mesh, and streets around the middle of villages."""

import numpy as np

from rasterloom.pipeline.landscape.classes import ROAD
from rasterloom.pipeline.landscape.features import Features, join, polygons, ribbons
from rasterloom.pipeline.landscape.hashing import Purpose, generator, lattice
from rasterloom.pipeline.landscape.looks import PAVINGS, dress
from rasterloom.pipeline.landscape.mesh import CELLS, ROAD_EVERY, STEPS, mesh
from rasterloom.pipeline.landscape.settlements import is_settled, settlements

STREET_WIDTH = 8.0
ROAD_WIDTHS = (9.0, 12.0)
"""Smallest and largest, in metres. A road keeps its width along the whole of its lattice line."""

_OPEN = -0.62
"""Hashed values in [-1, 1) above this have a road: about four sections out of five."""


def roads(seed: int, row: int, col: int) -> Features:
    """Streets and road sections that block (row, col) owns."""
    rng = generator(seed, Purpose.ROADS, row, col)
    streets = street_lines(seed, row, col)
    paving = dress(rng, PAVINGS, rng.choice(2, len(streets)), spread=0.05)
    narrow = ribbons(streets, np.full(len(streets), STREET_WIDTH), overrun=0.9)
    lines, widths, kinds = road_sections(seed, row, col)
    surface = dress(rng, PAVINGS, kinds, spread=0.05)
    wide = ribbons(lines, widths, overrun=0.9)
    return join([polygons(narrow, ROAD, paving), polygons(wide, ROAD, surface)])


def street_lines(seed: int, row: int, col: int) -> np.ndarray:
    """Middles (n, STEPS + 1, 2) of the streets around the block's village."""
    lines = []
    for place in settlements(seed, row, col):
        if place.ring:
            net = mesh(seed, place.row - 1, place.col - 1, 2)
            lines += [net.across[0], net.across[2], net.down[:, 0], net.down[:, 2]]
    return np.concatenate(lines)


def road_sections(seed: int, row: int, col: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles (n, 3 * STEPS + 1, 2), widths (n) in metres and pavings (n) of the block's road sections."""
    net = mesh(seed, row * CELLS, col * CELLS, CELLS)
    lines, widths, kinds = [], [], []
    for i in range(0, CELLS, ROAD_EVERY):
        for j in range(0, CELLS, ROAD_EVERY):
            node = (row * CELLS + i, col * CELLS + j)
            for down in (False, True):
                if has_road(seed, node, down=down):
                    edges = net.down[i : i + ROAD_EVERY, j] if down else net.across[i, j : j + ROAD_EVERY]
                    lines.append(np.concatenate([*edges[:, :-1], edges[-1, -1:]]))
                    width, kind = road_style(seed, node[1] if down else node[0], down=down)
                    widths.append(width)
                    kinds.append(kind)
    shape = (len(lines), ROAD_EVERY * STEPS + 1, 2)
    return np.array(lines).reshape(shape), np.array(widths, float), np.array(kinds, int)


def has_road(seed: int, node: tuple[int, int], *, down: bool) -> bool:
    """Whether a road leaves the crossing at lattice ``node`` to the east, or to the south with ``down``."""
    other = (node[0] + ROAD_EVERY, node[1]) if down else (node[0], node[1] + ROAD_EVERY)
    place = np.array([node[0] * 2 + int(down)]), np.array([node[1]])
    built = float(lattice(seed, Purpose.ROADS, *place)[0]) > _OPEN
    return built or is_settled(seed, *node) or is_settled(seed, *other)


def road_style(seed: int, line: int, *, down: bool) -> tuple[float, int]:
    """Width in metres and paving of the road along a lattice line."""
    place = np.array([line]), np.array([int(down)])
    width = np.interp(lattice(seed, Purpose.WIDTHS, *place)[0], [-1.0, 1.0], ROAD_WIDTHS)
    kind = np.interp(lattice(seed, Purpose.WIDTHS, place[0], place[1] + 2)[0], [-1.0, 1.0], [0.0, 2.999])
    return float(width), int(kind)
