"""Pixels of the landscape: outlines, light, plants and a camera, one canonical block at a time."""

import math
from dataclasses import dataclass
from threading import Lock

import numpy as np
from affine import Affine
from rasterio.features import rasterize
from scipy.special import ndtri

from rasterloom.pipeline.landscape.classes import BANDS, BUILDING, FOREST
from rasterloom.pipeline.landscape.features import Features, join
from rasterloom.pipeline.landscape.hashing import Purpose, generator
from rasterloom.pipeline.landscape.layers import blocks_reaching, features_in
from rasterloom.pipeline.landscape.looks import Look
from rasterloom.pipeline.landscape.moments import USUAL, Moment, changed_buildings, features_at
from rasterloom.pipeline.landscape.noise import noise_window

_RASTERIZE = Lock()
"""rasterio silences a warning of its own through the process-wide filters, which two threads would mix up."""

SIDE = 512
"""Side of a canonical block in pixels. A block is always rendered whole, so its pixels are the same in every
scene that holds them."""

_TREE_HEIGHT = 5.5
_REACH = 12.0
"""Metres by which what stands outside a block can change its pixels: the longest shadow."""

_SHADOW = np.array([0.45, 0.49, 0.58, 0.41], np.float32)
"""Share of the light left in shadow, per band: the sky is blue."""
_VIGOUR = np.array([-0.13, -0.02, -0.10, 0.16], np.float32)
"""Change of each band where plants are one deviation more vigorous."""
_BLUR = 0.17
"""Share of a pixel's light that falls on each neighbour in a row or column."""
_SENSOR_NOISE = 2.6
"""Standard deviation in grey levels at a grey level of 100."""


@dataclass(frozen=True)
class Block:
    """A canonical block."""

    pixels: np.ndarray
    """(bands, SIDE, SIDE) uint8."""
    classes: np.ndarray
    """(SIDE, SIDE) uint8 class values, never 0."""


@dataclass(frozen=True)
class _Ground:
    """What the pixels of a padded block are made from; arrays are (height, width)."""

    y: np.ndarray
    """Metres south of the scene's corner, per row."""
    x: np.ndarray
    """Metres east of it, per column."""
    looks: np.ndarray
    """(columns, features) float32, stripes measured from the block's corner."""
    index: np.ndarray
    """Which feature a pixel shows."""
    forest: np.ndarray
    """Which pixels are forest."""
    shadow: np.ndarray
    """0 in the light to 1 in shadow, float32."""
    moment: Moment

    def look(self, column: Look) -> np.ndarray:
        """One column of the look table, per pixel."""
        return np.take(self.looks[column], self.index)

    def wears(self, column: Look) -> bool:
        """Whether any feature here has a value other than 0 in a column."""
        return bool(self.looks[column].any())


def render_block(seed: int, cell_size: float, row: int, col: int, moment: Moment = USUAL) -> Block:
    """Pixels and classes of canonical block (row, col): a pure function of its arguments."""
    margin = math.ceil(_REACH / cell_size) + 2
    steps = np.arange(-margin, SIDE + margin) + 0.5
    y, x = (row * SIDE + steps) * cell_size, (col * SIDE + steps) * cell_size
    corner = (float(x[0]) - cell_size / 2, float(y[0]) - cell_size / 2)
    extent = len(steps) * cell_size
    reach = (corner[0] - _REACH, corner[1] - _REACH, corner[0] + extent, corner[1] + extent)
    box = (reach[0], reach[1], reach[2] + _REACH, reach[3] + _REACH)
    features = features_in(seed, box) if moment is USUAL else features_at(seed, box, moment)
    affine = Affine(cell_size, 0.0, corner[0], 0.0, cell_size, corner[1])
    ground, classes = _lay_out(features, y, x, affine, moment)
    rng = generator(seed, moment.pixels, row, col)
    light = _expose(ground, seed, cell_size, rng)
    inner = (slice(margin, margin + SIDE), slice(margin, margin + SIDE))
    return Block(_record(light[:, inner[0], inner[1]], rng), classes[inner])


def burn_changes(seed: int, cell_size: float, row: int, col: int) -> np.ndarray:
    """What happens between two dates at each pixel of canonical block (row, col): (SIDE, SIDE) uint8."""
    side = SIDE * cell_size
    x, y = col * side, row * side
    box = (x, y, x + side, y + side)
    rows, cols = blocks_reaching(box)
    changed = join([changed_buildings(seed, i, j) for i in rows for j in cols])
    changed = changed.take(changed.touching(box))
    rings = [changed.ring(i) for i in range(len(changed))]
    affine = Affine(cell_size, 0.0, x, 0.0, cell_size, y)
    return burn(rings, changed.values, (SIDE, SIDE), affine).astype(np.uint8)


def burn(rings: list[np.ndarray], values: np.ndarray, shape: tuple[int, int], affine: Affine) -> np.ndarray:
    """Value of the last ring (k, 2) that covers each pixel's centre, int32; 0 where none does."""
    shapes = [
        ({"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}, int(value))
        for ring, value in zip(rings, values, strict=True)
    ]
    if not shapes:
        return np.zeros(shape, np.int32)
    with _RASTERIZE:
        return np.asarray(rasterize(shapes, out_shape=shape, transform=affine, fill=0, dtype="int32"))


def _lay_out(
    features: Features, y: np.ndarray, x: np.ndarray, affine: Affine, moment: Moment
) -> tuple[_Ground, np.ndarray]:
    shape = len(y), len(x)
    rings = [features.ring(i) for i in range(len(features))]
    index = burn(rings, np.arange(len(features)), shape, affine).astype(np.intp)
    classes = np.take(features.values, index)
    looks = features.looks.T.copy()
    looks[Look.AXIS_ORIGIN] -= looks[Look.AXIS_X] * x[0] + looks[Look.AXIS_Y] * y[0]
    forest, roof = classes == FOREST, classes == BUILDING
    shadow = _building_shadows(features, rings, shape, affine, moment) & ~roof
    shadow |= _tree_shadows(forest, affine.a, moment) & ~forest & ~roof
    return _Ground(y, x, looks.astype(np.float32), index, forest, shadow.astype(np.float32), moment), classes


def _building_shadows(
    features: Features, rings: list[np.ndarray], shape: tuple[int, int], affine: Affine, moment: Moment
) -> np.ndarray:
    """Which pixels a building keeps the sun from, its own included."""
    tall = np.flatnonzero(features.heights)
    swept = []
    for i in tall:
        away = -np.array(moment.sun) * moment.cotangent * features.heights[i]
        # Sweeping every edge along the shadow covers what the hull of both ends covers.
        ring, following = rings[i], np.roll(rings[i], -1, axis=0)
        swept += list(np.stack([ring, following, following + away, ring + away], axis=1))
        swept.append(rings[i] + away)
    return burn(swept, np.ones(len(swept)), shape, affine) > 0


def _tree_shadows(forest: np.ndarray, cell_size: float, moment: Moment) -> np.ndarray:
    """Which pixels lie behind the edge of a forest."""
    shaded = np.zeros_like(forest)
    length = _TREE_HEIGHT * moment.cotangent / cell_size
    height, width = forest.shape
    for share in (0.35, 0.7, 1.0):
        right, down = (round(length * share * side) for side in moment.sun)
        # A pixel is in shadow when what stands towards the sun, down and right or left of it, is forest.
        aside, towards = (
            slice(max(-right, 0), width - max(right, 0)),
            slice(max(right, 0), width + min(right, 0)),
        )
        shaded[: height - down, aside] |= forest[down:, towards]
    return shaded


def _expose(ground: _Ground, seed: int, cell_size: float, rng: np.random.Generator) -> np.ndarray:
    """Light on the sensor in grey levels, float32 (bands, height, width)."""
    texture = _texture(ground, seed, rng)
    if ground.wears(Look.STRIPES):
        texture += _stripes(ground, cell_size)
    texture *= _sunlight(ground, seed)
    along = ground.x + ground.moment.season
    vigour = noise_window(seed, Purpose.VIGOUR, ground.y, along, 75.0)
    vigour += noise_window(seed, Purpose.VIGOUR, ground.y, along, 420.0)
    vigour *= ground.look(Look.VIGOUR)
    shadow = _blurred(_blurred(ground.shadow))
    light = np.empty((len(BANDS), *ground.index.shape), np.float32)
    for band, out in enumerate(light):
        np.multiply(vigour, _VIGOUR[band], out=out)
        out += 1.0
        out *= ground.look(Look(band))
        out *= texture
        out *= 1.0 - (1.0 - _SHADOW[band]) * shadow
        if ground.moment.tint is not None:
            out *= np.float32(ground.moment.tint[band])
        light[band] = _blurred(out)
    return light


def _texture(ground: _Ground, seed: int, rng: np.random.Generator) -> np.ndarray:
    """Brightness relative to the base colour: patches, spots, crowns."""
    y, x = ground.y, ground.x
    patches = noise_window(seed, Purpose.MOTTLE, y, x, 48.0)
    patches += noise_window(seed, Purpose.MOTTLE, y, x, 17.0)
    patches *= ground.look(Look.MOTTLE)
    spots = noise_window(seed, Purpose.GRAIN, y, x, 4.6)
    spots *= np.float32(0.6)
    spots += _white(rng, ground.index.shape)
    spots *= ground.look(Look.GRAIN)
    patches += spots
    patches += 1.0
    if ground.wears(Look.CROWNS):
        patches += _crowns(ground, seed) * ground.look(Look.CROWNS)
    return np.maximum(patches, 0.25, out=patches)


def _crowns(ground: _Ground, seed: int) -> np.ndarray:
    """Rounded tops lit from the sun's side, with dark gaps between them; about -1 to 1."""
    height = np.abs(noise_window(seed, Purpose.CROWNS, ground.y, ground.x, 6.3))
    height += 0.5 * np.abs(noise_window(seed, Purpose.CROWNS, ground.y, ground.x + 1e6, 3.9))
    np.sqrt(height, out=height)
    lit = np.zeros_like(height)
    # Falls towards the sun, down and right of a pixel, by what it is higher than its neighbours there.
    lit[:-1, :-1] = 0.4 * height[:-1, :-1] + 0.4 * height[:-1, 1:] - 0.8 * height[1:, :-1]
    lit *= np.float32(1.1)
    lit += 0.55 * (height - 1.0)
    return lit


def _stripes(ground: _Ground, cell_size: float) -> np.ndarray:
    """Furrows, wheel tracks and the two sides of roofs."""
    right = (ground.x - ground.x[0]).astype(np.float32)
    below = (ground.y - ground.y[0]).astype(np.float32)
    across = ground.look(Look.AXIS_X) * right
    across += ground.look(Look.AXIS_Y) * below[:, None]
    across -= ground.look(Look.AXIS_ORIGIN)
    wave = np.sin(across * ground.look(Look.STRIPE_RATE))
    wave *= ground.look(Look.STRIPE_EDGE)
    np.clip(wave, -1.0, 1.0, out=wave)
    wave *= _visible(ground, cell_size)[ground.index]
    if ground.wears(Look.TRACKS):
        across *= np.float32(1.0 / 21.0)
        across -= np.floor(across)
        wave -= (across < max(1.8, 0.8 * cell_size) / 21.0) * ground.look(Look.TRACKS)
    return wave


def _visible(ground: _Ground, cell_size: float) -> np.ndarray:
    """Strength of each feature's stripes, fading out where pixels are too coarse to show them."""
    rate = ground.looks[Look.STRIPE_RATE]
    pixels = np.divide(2 * np.pi / cell_size, rate, out=np.full_like(rate, 9.0), where=rate > 0)
    return (ground.looks[Look.STRIPES] * np.clip((pixels - 2.0) / 1.5, 0.0, 1.0)).astype(np.float32)


def _sunlight(ground: _Ground, seed: int) -> np.ndarray:
    """Illumination of the slopes and a slow drift across the scene, about 1."""
    y, x = ground.y, ground.x
    height = 26.0 * noise_window(seed, Purpose.RELIEF, y, x, 1150.0)
    height += 8.0 * noise_window(seed, Purpose.RELIEF, y, x, 430.0)
    height += 1.6 * noise_window(seed, Purpose.RELIEF, y, x, 130.0)
    step = np.float32(x[1] - x[0])
    slope = np.zeros_like(height)
    sun = ground.moment.sun
    slope[:, :-1] += np.float32(sun[0]) * (height[:, :-1] - height[:, 1:])
    slope[:-1] += np.float32(sun[1]) * (height[:-1] - height[1:])
    slope *= ground.look(Look.RELIEF)
    slope *= np.float32(ground.moment.cotangent) / step
    drift = noise_window(seed, Purpose.SUNLIGHT, y, x + ground.moment.season, 2300.0)
    drift *= np.float32(0.05)
    drift += 1.0
    drift += slope
    return np.clip(drift, 0.45, 1.6, out=drift)


def _blurred(image: np.ndarray) -> np.ndarray:
    """Light spread over the next pixels; the outermost ones keep theirs."""
    spread = image.copy()
    spread[1:-1] *= 1.0 - 2.0 * _BLUR
    spread[1:-1] += _BLUR * (image[:-2] + image[2:])
    out = spread.copy()
    out[:, 1:-1] *= 1.0 - 2.0 * _BLUR
    out[:, 1:-1] += _BLUR * (spread[:, :-2] + spread[:, 2:])
    return out


def _record(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grey levels with the sensor's noise, uint8."""
    noise = _white(rng, light.shape)
    noise *= np.sqrt(light) * np.float32(_SENSOR_NOISE / 10.0)
    noise += light
    noise += 0.5
    return np.clip(noise, 1.0, 255.0, out=noise).astype(np.uint8)


def _white(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Independent, nearly normal values of deviation 1, float32."""
    raw = np.frombuffer(rng.bytes(math.prod(shape)), np.uint8)
    return np.take(_QUANTILES, raw).reshape(shape)


def _normal_quantiles() -> np.ndarray:
    """256 equally likely values of a normal distribution, scaled to deviation 1, float32."""
    values = ndtri((np.arange(256) + 0.5) / 256)
    return (values / values.std()).astype(np.float32)


_QUANTILES = _normal_quantiles()
