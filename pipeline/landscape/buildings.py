"""Houses and barns beside the streets of villages and hamlets, and a few farms along the roads."""

import numpy as np

from rasterloom.pipeline.landscape.classes import BUILDING
from rasterloom.pipeline.landscape.features import Features, polygons
from rasterloom.pipeline.landscape.hashing import Purpose, generator
from rasterloom.pipeline.landscape.looks import ROOF_SHARES, ROOFS, Look, dress
from rasterloom.pipeline.landscape.mesh import mesh
from rasterloom.pipeline.landscape.roads import ROAD_WIDTHS, STREET_WIDTH, road_sections
from rasterloom.pipeline.landscape.settlements import Settlement, settlements
from rasterloom.pipeline.landscape.water import clear_of_water

_PLOT = 27.0
"""Metres of street for each building."""
_CORNER = 24.0
"""Metres at the ends of a street that stay free, because another street crosses there."""
_BUILT = 0.88
"""Share of the plots in the first row that have a building."""
_BEHIND = 0.6
"""The same for the second row."""

_Plan = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Centres (n, 2), unit vectors along the front (n, 2), front and depth (n, 2); metres."""


def buildings(seed: int, row: int, col: int) -> Features:
    """The buildings that block (row, col) owns: rectangles with sides of 12 to 30 m."""
    rng = generator(seed, Purpose.BUILDINGS, row, col)
    lines, _, _ = road_sections(seed, row, col)
    plans = [_farms(rng, line) for line in lines]
    paved = [lines.reshape(-1, 2)]
    for place in settlements(seed, row, col):
        streets = _frontages(seed, place)
        plans += [_terrace(rng, street) for street in streets]
        paved.append(_densified(streets))
    centres, fronts, sizes = (np.concatenate(part) for part in zip(*plans, strict=True))
    kept = clear_of_water(seed, row, col, centres, 14.0) & _off_roads(centres, sizes, np.concatenate(paved))
    kept[kept] = _apart(centres[kept], sizes[kept])
    return _raise(rng, centres[kept], fronts[kept], sizes[kept])


def _frontages(seed: int, place: Settlement) -> np.ndarray:
    """Middles (n, k, 2) of the streets along which a settlement is built."""
    net = mesh(seed, place.row - 1, place.col - 1, 2)
    arms = np.concatenate([net.across[1], net.down[:, 1]])
    if not place.ring:
        return arms
    return np.concatenate([arms, net.across[0], net.across[2], net.down[:, 0], net.down[:, 2]])


def _terrace(rng: np.random.Generator, street: np.ndarray) -> _Plan:
    """One row of plots, and half a row behind it, on each side of a street (k, 2)."""
    length = _distances(street)[-1]
    plots = max(int((length - 2 * _CORNER) / _PLOT), 1)
    where = np.tile(np.linspace(_CORNER, length - _CORNER, plots), 4) + rng.uniform(-3.0, 3.0, 4 * plots)
    side = np.repeat([1.0, -1.0, 1.0, -1.0], plots)
    second = np.repeat([False, False, True, True], plots)
    built = rng.random(4 * plots) < np.where(second, _BEHIND, _BUILT)
    return _beside(rng, street, where[built], side[built], second[built] * rng.uniform(27.0, 34.0))


def _farms(rng: np.random.Generator, line: np.ndarray) -> _Plan:
    """Up to three buildings near the middle of a road section (k, 2)."""
    middle = _distances(line)[-1] * rng.uniform(0.45, 0.55)
    where = middle + np.array([-18.0, 20.0, 0.0]) + rng.uniform(-3.0, 3.0, 3)
    built = rng.random(3) < (0.9 if rng.random() < 0.45 else 0.0)
    side = np.full(3, rng.choice([-1.0, 1.0]))
    return _beside(rng, line, where[built], side[built], np.array([2.0, 2.0, 34.0])[built])


def _beside(
    rng: np.random.Generator, line: np.ndarray, where: np.ndarray, side: np.ndarray, back: np.ndarray
) -> _Plan:
    """Buildings ``where`` metres along a line, on its ``side``, ``back`` metres behind the first row."""
    count = len(where)
    distances = _distances(line)
    centres = np.stack([np.interp(where, distances, line[:, k]) for k in (0, 1)], axis=1)
    ahead = np.stack([np.interp(where + 4.0, distances, line[:, k]) for k in (0, 1)], axis=1)
    front = ahead - centres
    front /= np.linalg.norm(front, axis=1, keepdims=True)
    aside = np.stack([-front[:, 1], front[:, 0]], axis=1) * side[:, None]
    sizes = np.stack([rng.uniform(13.0, 28.0, count), rng.uniform(12.5, 19.0, count)], axis=1)
    setback = ROAD_WIDTHS[1] / 2 + rng.uniform(3.0, 7.0, count) + sizes[:, 1] / 2 + back
    tilt = np.radians(rng.normal(0.0, 3.0, count))[:, None]
    turned = front * np.cos(tilt) + aside * np.sin(tilt)
    return centres + aside * setback[:, None], turned, sizes


def _distances(line: np.ndarray) -> np.ndarray:
    """Metres from the start of a line (k, 2) to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])


def _densified(lines: np.ndarray) -> np.ndarray:
    """Points (m, 2) of lines (n, k, 2) and of the middles of their pieces."""
    return np.concatenate([lines.reshape(-1, 2), ((lines[:, 1:] + lines[:, :-1]) / 2).reshape(-1, 2)])


def _off_roads(centres: np.ndarray, sizes: np.ndarray, paved: np.ndarray) -> np.ndarray:
    """Which buildings keep clear of all road points (m, 2)."""
    distance = np.linalg.norm(centres[:, None, :] - paved, axis=2).min(axis=1)
    return distance > STREET_WIDTH / 2 + sizes[:, 1] / 2 + 2.0


def _apart(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which buildings remain when each gives way to the earlier ones that stand too close."""
    reach = 0.42 * np.linalg.norm(sizes, axis=1)
    distance = np.linalg.norm(centres[:, None, :] - centres, axis=2)
    close = distance < reach[:, None] + reach
    kept = np.ones(len(centres), bool)
    for i in range(len(centres)):
        kept[i] = not (close[i, :i] & kept[:i]).any()
    return kept


def _raise(rng: np.random.Generator, centres: np.ndarray, fronts: np.ndarray, sizes: np.ndarray) -> Features:
    """Rectangles with a roof whose ridge runs along the longer side."""
    count = len(centres)
    depths = np.stack([-fronts[:, 1], fronts[:, 0]], axis=1)
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    offsets = corners[:, None, :] * sizes  # (corner, building, front or depth)
    rings = centres + offsets[..., :1] * fronts + offsets[..., 1:] * depths
    wide = sizes[:, 0] >= sizes[:, 1]
    across = np.where(wide[:, None], depths, fronts)
    # The flank towards the sun is the bright one.
    across *= np.where(across @ [0.5, 0.87] > 0, 1.0, -1.0)[:, None]
    looks = dress(
        rng, ROOFS, rng.choice(len(ROOFS), count, p=ROOF_SHARES), axes=across, origins=centres, spread=0.1
    )
    looks[:, Look.STRIPE_RATE] = np.pi / sizes.min(axis=1)
    looks[:, Look.STRIPE_EDGE] = 4.0
    return polygons(rings.transpose(1, 0, 2), BUILDING, looks, heights=rng.uniform(4.0, 9.5, count))
