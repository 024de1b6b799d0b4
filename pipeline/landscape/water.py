"""Lakes, and rivers that meander through the whole plane."""

from functools import lru_cache

import numpy as np

from rasterloom.pipeline.landscape.classes import WATER
from rasterloom.pipeline.landscape.features import BLOCK, Features, blobs, join, nothing, polygons, ribbons
from rasterloom.pipeline.landscape.hashing import Purpose, generator
from rasterloom.pipeline.landscape.looks import RIVER, WATERS, dress
from rasterloom.pipeline.landscape.mesh import CELLS, ROAD_EVERY, mesh
from rasterloom.pipeline.landscape.noise import noise_points
from rasterloom.pipeline.landscape.settlements import distance_to_settlements

_DIRECTION = np.array([[0.96, 0.28], [-0.28, 0.96]])
"""Rows: unit vectors along and across the rivers' general course."""
_APART = 3072.0
"""Metres between rivers."""
_REACH = 512.0
"""Length in metres, along the general course, of the piece that one feature covers."""
_SWINGS = (110.0, 50.0)
"""Metres by which a river leaves its general course: slow bends (standard deviation), meanders (most)."""


@lru_cache(maxsize=1024)
def lakes(seed: int, row: int, col: int) -> tuple[np.ndarray, np.ndarray, Features]:
    """Centres (n, 2) and radii (n) in metres and outlines of the lakes that block (row, col) owns.

    They lie between the roads, at most one in each loop of them.
    """
    rng = generator(seed, Purpose.LAKES, row, col)
    crossings = _crossings(seed, row, col)
    middles = (crossings[:-1, :-1] + crossings[1:, :-1] + crossings[:-1, 1:] + crossings[1:, 1:]) / 4
    centres = middles.reshape(-1, 2)
    count = len(centres)
    centres = centres + rng.uniform(-50.0, 50.0, (count, 2))
    room = distance_to_settlements(seed, row, col, centres) - 10.0
    radii = np.minimum(rng.uniform(70.0, 170.0, count), room)
    rings = blobs(rng, centres, radii, points=48, ragged=0.35)
    looks = dress(rng, WATERS, rng.integers(0, len(WATERS), count), spread=0.1)
    kept = (radii > 40.0) & (rng.random(count) < 0.8)
    return centres[kept], radii[kept], polygons(rings[kept], WATER, looks[kept])


def water(seed: int, row: int, col: int) -> Features:
    """The lakes and the reaches of rivers that block (row, col) owns."""
    return join([lakes(seed, row, col)[2], _rivers(seed, row, col)])


def clear_of_water(seed: int, row: int, col: int, points: np.ndarray, margin: float) -> np.ndarray:
    """Which points (n, 2) of block (row, col) or just beside it stay ``margin`` metres off all water."""
    dry = np.ones(len(points), bool)
    for i in (row - 1, row, row + 1):
        for j in (col - 1, col, col + 1):
            centres, radii, _ = lakes(seed, i, j)
            distance = np.linalg.norm(points[:, None, :] - centres, axis=2)
            dry &= (distance > radii + margin).all(axis=1)
    along, across = _DIRECTION @ points.T
    river = np.round(across / _APART)
    # The banks are at most 22 m from the middle; 1.7 allows for the steepest part of a meander.
    return dry & (np.abs(across - _course(seed, river, along)) > 1.7 * (margin + 22.0))


def _crossings(seed: int, row: int, col: int) -> np.ndarray:
    """Positions (n + 1, n + 1, 2) of the block's road crossings and of the next ones east and south."""
    net = mesh(seed, row * CELLS, col * CELLS, CELLS)
    starts, last = net.across[::ROAD_EVERY, ::ROAD_EVERY, 0], net.across[::ROAD_EVERY, -1:, -1]
    return np.concatenate([starts, last], axis=1)


def _rivers(seed: int, row: int, col: int) -> Features:
    reaches = _reaches(row, col)
    if not len(reaches):
        return nothing()
    # One step more at both ends, so that two reaches agree on the direction where they meet.
    steps = np.arange(-1, 34) / 32
    along = (reaches[:, :1] + steps) * _REACH  # (reach, step)
    river = np.broadcast_to(reaches[:, 1:], along.shape)
    across = _course(seed, river, along)
    lines = np.stack([along, across], axis=-1) @ _DIRECTION
    width = 30.0 + 4.0 * noise_points(seed, Purpose.RIVERS, river * 7919.0, along, 700.0)
    rings = _cut_ends(ribbons(lines, width))
    looks = np.concatenate([_river_look(seed, int(k)) for k in reaches[:, 1]])
    return polygons(rings, WATER, looks)


def _cut_ends(rings: np.ndarray) -> np.ndarray:
    """Ribbons (n, 2k, 2) without the first and last step of their middle line."""
    half = rings.shape[1] // 2
    return np.concatenate([rings[:, 1 : half - 1], rings[:, half + 1 : -1]], axis=1)


def _river_look(seed: int, river: int) -> np.ndarray:
    """The look (1, columns) that a river keeps along its whole course."""
    return dress(generator(seed, Purpose.RIVERS, river, 0), RIVER, np.zeros(1, int))


def _reaches(row: int, col: int) -> np.ndarray:
    """(reach, river) numbers (n, 2) of the pieces whose reference point lies in the block."""
    corners = np.array([[col, row], [col + 1, row], [col, row + 1], [col + 1, row + 1]]) * BLOCK
    along, across = _DIRECTION @ corners.T
    pieces = np.arange(np.floor(along.min() / _REACH), np.ceil(along.max() / _REACH) + 1)
    rivers = np.arange(np.floor(across.min() / _APART), np.ceil(across.max() / _APART) + 1)
    pairs = np.stack(np.meshgrid(pieces, rivers, indexing="ij"), axis=-1).reshape(-1, 2)
    places = ((pairs + [0.5, 0.0]) * [_REACH, _APART]) @ _DIRECTION
    inside = (np.floor(places / BLOCK) == [col, row]).all(axis=1)
    return pairs[inside]


def _course(seed: int, river: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Distance across the general course of a river's middle, in metres."""
    line = river * 7919.0
    slow = noise_points(seed, Purpose.MEANDER, line, along, 950.0)
    phase = 1.2 * noise_points(seed, Purpose.MEANDER, line + 3001.0, along, 1300.0)
    bends = np.sin(2.0 * np.pi * along / 370.0 + phase)
    return river * _APART + _SWINGS[0] * slow + _SWINGS[1] * bends
