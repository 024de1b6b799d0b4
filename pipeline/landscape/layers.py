"""The layers of the landscape in painting order, and the features of any window of the plane."""

import math
from collections.abc import Callable
from functools import lru_cache

from rasterloom.pipeline.landscape.buildings import buildings
from rasterloom.pipeline.landscape.features import BLOCK, Features, join
from rasterloom.pipeline.landscape.parcels import parcels
from rasterloom.pipeline.landscape.roads import roads
from rasterloom.pipeline.landscape.water import water
from rasterloom.pipeline.landscape.woods import woods

LAYERS: tuple[Callable[[int, int, int], Features], ...] = (parcels, woods, water, roads, buildings)
"""Later layers are painted over earlier ones. Each gives what one block owns."""

Box = tuple[float, float, float, float]
"""Smallest x, smallest y, largest x, largest y in metres from the scene's upper-left corner."""


# Rendering row by row needs four rows of blocks: 1280 entries hold them for scenes of 64 km.
@lru_cache(maxsize=1280)
def block_features(seed: int, layer: int, row: int, col: int) -> Features:
    """What block (row, col) owns of one layer."""
    return LAYERS[layer](seed, row, col)


def blocks_reaching(box: Box) -> tuple[range, range]:
    """Rows and columns of the blocks whose features can reach into ``box``."""
    x0, y0, x1, y1 = (side / BLOCK for side in box)
    return range(math.floor(y0) - 1, math.ceil(y1) + 1), range(math.floor(x0) - 1, math.ceil(x1) + 1)


def features_in(seed: int, box: Box) -> Features:
    """All features whose bounding box meets ``box``, in painting order."""
    rows, cols = blocks_reaching(box)
    owned = (
        block_features(seed, layer, row, col) for layer in range(len(LAYERS)) for row in rows for col in cols
    )
    return join([features.take(features.touching(box)) for features in owned])
