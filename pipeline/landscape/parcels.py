"""Fields, meadows and planted woods: the cells of the mesh, some of them worked in two halves."""

import numpy as np

from rasterloom.pipeline.landscape.classes import FIELD, FOREST, GRASSLAND
from rasterloom.pipeline.landscape.features import Features, join, polygons
from rasterloom.pipeline.landscape.hashing import Purpose, generator
from rasterloom.pipeline.landscape.looks import CROP_SHARES, CROPS, GARDEN, MEADOWS, WOODS, dress
from rasterloom.pipeline.landscape.mesh import CELLS, STEPS, Mesh, mesh
from rasterloom.pipeline.landscape.settlements import settlements_around

_SHARES = np.array([0.62, 0.30, 0.08])
_KINDS = np.array([FIELD, GRASSLAND, FOREST])


def parcels(seed: int, row: int, col: int) -> Features:
    """The parcels that block (row, col) owns, whole cells first; they tile the plane without gaps."""
    rng = generator(seed, Purpose.PARCELS, row, col)
    net = mesh(seed, row * CELLS, col * CELLS, CELLS)
    axes = _along_longest_side(net)
    classes = rng.choice(_KINDS, CELLS * CELLS, p=_SHARES)
    gardens = _cells_near_villages(seed, row, col, 1)
    settled = _cells_near_villages(seed, row, col, 2)
    classes[gardens | (settled & (classes == FOREST))] = GRASSLAND
    whole = polygons(_outlines(net), classes, _looks(rng, classes, axes, gardens))
    halved = np.flatnonzero((rng.random(CELLS * CELLS) < 0.45) & ~gardens & (classes != FOREST))
    parts = rng.choice([FIELD, GRASSLAND], len(halved), p=[0.75, 0.25])
    unplanted = np.zeros(len(halved), bool)
    upright = np.abs(axes[halved, 0]) > 0.7
    rings = np.where(upright[:, None, None], _left_halves(net)[halved], _upper_halves(net)[halved])
    return join([whole, polygons(rings, parts, _looks(rng, parts, axes[halved], unplanted))])


def _outlines(net: Mesh) -> np.ndarray:
    """Rings (cells, 4 * STEPS, 2), clockwise from the upper left."""
    top, right = net.across[:-1, :, :-1], net.down[:, 1:, :-1]
    bottom, left = net.across[1:, :, :0:-1], net.down[:, :-1, :0:-1]
    return np.concatenate([top, right, bottom, left], axis=2).reshape(CELLS * CELLS, -1, 2)


def _left_halves(net: Mesh) -> np.ndarray:
    """Rings (cells, 2 * STEPS + 1, 2) of the half west of the middle."""
    half = STEPS // 2
    top, bottom = net.across[:-1, :, : half + 1], net.across[1:, :, half:0:-1]
    left = net.down[:, :-1, :0:-1]
    return np.concatenate([top, bottom, left], axis=2).reshape(CELLS * CELLS, -1, 2)


def _upper_halves(net: Mesh) -> np.ndarray:
    """Rings (cells, 2 * STEPS + 1, 2) of the half north of the middle."""
    half = STEPS // 2
    top, right = net.across[:-1, :, :-1], net.down[:, 1:, : half + 1]
    left = net.down[:, :-1, half:0:-1]
    return np.concatenate([top, right, left], axis=2).reshape(CELLS * CELLS, -1, 2)


def _along_longest_side(net: Mesh) -> np.ndarray:
    """Unit vectors (cells, 2) across the furrows, which follow each cell's longer side."""
    east = net.across[:-1, :, -1] - net.across[:-1, :, 0]
    south = net.down[:, :-1, -1] - net.down[:, :-1, 0]
    wide = (east**2).sum(axis=-1) > (south**2).sum(axis=-1)
    along = np.where(wide[..., None], east, south).reshape(-1, 2)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    return np.stack([-along[:, 1], along[:, 0]], axis=1)


def _cells_near_villages(seed: int, row: int, col: int, reach: int) -> np.ndarray:
    """Which cells (CELLS * CELLS) lie within ``reach`` cells of a village, or one less of a hamlet."""
    inside = np.zeros((CELLS, CELLS), bool)
    for place in settlements_around(seed, row, col):
        near = reach if place.ring else reach - 1
        i, j = place.row - row * CELLS, place.col - col * CELLS
        inside[max(i - near, 0) : max(i + near, 0), max(j - near, 0) : max(j + near, 0)] = True
    return inside.ravel()


def _looks(
    rng: np.random.Generator, classes: np.ndarray, axes: np.ndarray, gardens: np.ndarray
) -> np.ndarray:
    count = len(classes)
    crops = dress(rng, CROPS, rng.choice(len(CROPS), count, p=CROP_SHARES), axes=axes)
    grass = dress(rng, MEADOWS, rng.integers(0, len(MEADOWS), count))
    yards = dress(rng, GARDEN, np.zeros(count, int))
    woods = dress(rng, WOODS, rng.integers(0, len(WOODS), count))
    chosen = [gardens[:, None], (classes == FIELD)[:, None], (classes == FOREST)[:, None]]
    return np.select(chosen, [yards, crops, woods], grass)
