"""The landscape at two dates: which buildings stand, what grows in the fields, and how the light falls."""

from dataclasses import dataclass, replace

import numpy as np

from rasterloom.pipeline.landscape.buildings import buildings
from rasterloom.pipeline.landscape.classes import BUILT, FIELD, GONE, NO_CHANGE
from rasterloom.pipeline.landscape.features import Features, join
from rasterloom.pipeline.landscape.hashing import Purpose, generator
from rasterloom.pipeline.landscape.layers import LAYERS, Box, block_features, blocks_reaching
from rasterloom.pipeline.landscape.looks import Look

_FATES = np.array([NO_CHANGE, BUILT, GONE])
_FATE_SHARES = np.array([0.6, 0.25, 0.15])
_COLOURS = slice(Look.RED, Look.NIR + 1)
_TONE, _TINT = 0.12, 0.05
"""Deviation of the brightness of a field between two dates, and of each of its bands beyond that."""


@dataclass(frozen=True)
class Moment:
    """When a landscape is looked at."""

    missing: int | None = None
    """Fate of the buildings that do not stand then; None where all of them do."""
    sun: tuple[float, float] = (0.5, 0.866)
    """Unit vector over the ground towards the sun: east, or west where negative, and south. Shadows fall to
    the other side."""
    cotangent: float = 1.15
    """Shadow length of something 1 m high, at most 1.2: 1.15 is a sun that stands 41 degrees high."""
    tint: tuple[float, float, float, float] | None = None
    """Share of the light in each band that reaches the sensor; None is all of it."""
    season: float = 0.0
    """Metres by which the patterns of growth and of haze are displaced: other ones far away."""
    pixels: Purpose = Purpose.PIXELS
    """The stream of the sensor's noise."""
    crops: Purpose | None = None
    """The stream of the fields' tones; None leaves them as they are."""


USUAL = Moment()
"""The one date of a scene that stands alone."""
BEFORE = Moment(
    missing=BUILT,
    tint=(0.94, 0.97, 1.0, 0.9),
    season=2e6,
    pixels=Purpose.PIXELS_EARLIER,
    crops=Purpose.CROPS_EARLIER,
)
AFTER = Moment(
    missing=GONE,
    sun=(-0.6, 0.8),
    cotangent=0.9,
    tint=(1.06, 1.02, 0.96, 1.08),
    season=4e6,
    pixels=Purpose.PIXELS_LATER,
    crops=Purpose.CROPS_LATER,
)
"""The afternoon of another season."""


def fates(seed: int, row: int, col: int) -> np.ndarray:
    """What happens to the buildings that block (row, col) owns: NO_CHANGE, BUILT or GONE."""
    count = len(block_features(seed, LAYERS.index(buildings), row, col))
    return generator(seed, Purpose.FATES, row, col).choice(_FATES, count, p=_FATE_SHARES)


def changed_buildings(seed: int, row: int, col: int) -> Features:
    """The buildings that block (row, col) owns and that stand at one date only, their fate as value."""
    found = fates(seed, row, col)
    features = replace(block_features(seed, LAYERS.index(buildings), row, col), values=found.astype(np.uint8))
    return features.take(np.flatnonzero(found != NO_CHANGE))


def features_at(seed: int, box: Box, moment: Moment) -> Features:
    """All features at a moment whose bounding box meets ``box``, in painting order."""
    rows, cols = blocks_reaching(box)
    owned = (
        _owned(seed, layer, row, col, moment) for layer in range(len(LAYERS)) for row in rows for col in cols
    )
    return join([features.take(features.touching(box)) for features in owned])


def _owned(seed: int, layer: int, row: int, col: int, moment: Moment) -> Features:
    """What block (row, col) owns of one layer at a moment."""
    features = block_features(seed, layer, row, col)
    if moment.missing is not None and LAYERS[layer] is buildings:
        return features.take(np.flatnonzero(fates(seed, row, col) != moment.missing))
    fields = features.values == FIELD
    if moment.crops is None or not fields.any():
        return features
    rng = generator(seed, moment.crops, row, col)
    tones = rng.normal(1.0, _TONE, (len(features), 1)) * rng.normal(1.0, _TINT, (len(features), 4))
    looks = features.looks.copy()
    looks[:, _COLOURS] *= np.where(fields[:, None], tones.clip(0.65, 1.4), 1.0)
    return replace(features, looks=looks)
