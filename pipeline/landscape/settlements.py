"""Where people live: one village and one hamlet in each block, at crossings of the road lattice."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rasterloom.pipeline.landscape.hashing import Purpose, generator
from rasterloom.pipeline.landscape.mesh import CELLS, ROAD_EVERY, mesh


@dataclass(frozen=True)
class Settlement:
    """A village or a hamlet."""

    row: int
    """Lattice row of the crossing in its middle."""
    col: int
    """Lattice column of that crossing."""
    x: float
    """Metres east of the scene's upper-left corner."""
    y: float
    """Metres south of that corner."""
    ring: bool
    """Whether streets run around the middle: a village; without them it is a hamlet."""

    @property
    def radius(self) -> float:
        """Metres from the middle that are kept clear of woods and lakes."""
        return 250.0 if self.ring else 150.0


@lru_cache(maxsize=4096)
def settlements(seed: int, row: int, col: int) -> tuple[Settlement, ...]:
    """The village and the hamlet of block (row, col)."""
    rng = generator(seed, Purpose.SETTLEMENTS, row, col)
    per_side = CELLS // ROAD_EVERY
    places = rng.permutation(per_side * per_side)[:2]
    return tuple(_place(seed, row, col, divmod(int(p), per_side), p == places[0]) for p in places)


def settlements_around(seed: int, row: int, col: int) -> tuple[Settlement, ...]:
    """Those of block (row, col) and of the eight blocks around it."""
    near = ((row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
    return tuple(place for i, j in near for place in settlements(seed, i, j))


def is_settled(seed: int, row: int, col: int) -> bool:
    """Whether the crossing at lattice node (row, col) is the middle of a settlement."""
    return any((s.row, s.col) == (row, col) for s in settlements(seed, row // CELLS, col // CELLS))


def distance_to_settlements(seed: int, row: int, col: int, points: np.ndarray) -> np.ndarray:
    """Metres (n) from ``points`` (n, 2) of block (row, col) to the nearest settlement's outer edge.

    Negative inside one. Settlements beyond the neighbouring blocks do not count.
    """
    places = settlements_around(seed, row, col)
    centres = np.array([(place.x, place.y) for place in places])
    reach = np.array([place.radius for place in places])
    return (np.linalg.norm(points[:, None, :] - centres, axis=2) - reach).min(axis=1)


def _place(seed: int, row: int, col: int, slot: tuple[int, int], ring: bool) -> Settlement:
    i, j = row * CELLS + slot[0] * ROAD_EVERY, col * CELLS + slot[1] * ROAD_EVERY
    x, y = mesh(seed, i, j, 1).across[0, 0, 0]
    return Settlement(i, j, float(x), float(y), bool(ring))
