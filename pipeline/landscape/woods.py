"""Patches of forest, dense in some regions and rare in others."""

import numpy as np

from rasterloom.pipeline.landscape.classes import FOREST
from rasterloom.pipeline.landscape.features import BLOCK, Features, blobs, polygons
from rasterloom.pipeline.landscape.hashing import Purpose, generator
from rasterloom.pipeline.landscape.looks import WOODS, dress
from rasterloom.pipeline.landscape.noise import noise_points
from rasterloom.pipeline.landscape.settlements import distance_to_settlements

_PATCHES = 22


def woods(seed: int, row: int, col: int) -> Features:
    """The patches that block (row, col) owns, 80 to 320 m across."""
    rng = generator(seed, Purpose.WOODS, row, col)
    centres = (np.array([col, row]) + rng.random((_PATCHES, 2))) * BLOCK
    radii = rng.uniform(55.0, 160.0, _PATCHES)
    region = noise_points(seed, Purpose.WOODS, centres[:, 1], centres[:, 0], 1500.0)
    wooded = rng.random(_PATCHES) < 0.55 + 0.35 * np.tanh(region)
    kept = wooded & (distance_to_settlements(seed, row, col, centres) > radii * 0.8)
    rings = blobs(rng, centres, radii, points=56, ragged=0.4)
    looks = dress(rng, WOODS, rng.integers(0, len(WOODS), _PATCHES))
    return polygons(rings[kept], FOREST, looks[kept])
