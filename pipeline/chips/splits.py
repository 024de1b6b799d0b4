"""Give blocks of ground to training, validation and test, so that their chips never touch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.env import Env
from rasterio.warp import transform

from rasterloom.models.errors import CrsError, SettingError
from rasterloom.pipeline.rasters.gdal import FAILURES
from rasterloom.pipeline.rasters.grid import Grid, same_crs
from rasterloom.pipeline.store.layout import SPLITS

USUAL_TILES = 8
"""Side of a block in chips, unless it is asked for."""

SPARE = 1.0
"""Pixels around a chip that must belong to its own part too."""

_NAMES = SPLITS[1:]


@dataclass(frozen=True)
class Split:
    """How the ground is shared out."""

    shares: tuple[float, float, float]
    """Of train, val and test; they sum to 1."""
    block: int
    """Side of a block in pixels of the first source."""
    seed: int


def check_split(split: Any, block: Any, seed: Any, tile: tuple[int, int]) -> Split | None:
    """The split that is asked for, or None.

    Parameters
    ----------
    split
        None, ``{"train": 0.8, "val": 0.1, "test": 0.1}``, or the same as text: "80/10/10" or "80/20".
    block
        Side of a block in pixels; None takes eight tiles.
    seed
        Whole number, 0 or more.
    tile
        Height and width of a chip.

    Raises
    ------
    SettingError
        If one of them cannot work.
    """
    if split is None:
        if block is not None:
            raise SettingError('split_block_size has no effect without split: give split="80/10/10" too.')
        return None
    shares = _shares(split)
    total = sum(shares)
    if not all(np.isfinite(shares)) or min(shares) < 0 or sum(share > 0 for share in shares) < 2:
        raise SettingError(f"split={split!r} cannot work: give two or three shares above 0.")
    side = USUAL_TILES * max(tile) if block is None else block
    if isinstance(side, bool) or not isinstance(side, int) or side < max(tile) + 2 * SPARE:
        raise SettingError(
            f"split_block_size={block!r} cannot work with chips of {max(tile)} pixels: use a whole number of "
            f"{max(tile) + 2} or more, best several chips."
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SettingError(f"seed={seed!r} cannot work: give a whole number, 0 or more.")
    train, val, test = (share / total for share in shares)
    return Split((train, val, test), side, seed)


def split_chips(corners: np.ndarray, split: Split) -> np.ndarray:
    """The part that each chip belongs to, as a position in ``SPLITS``; 0 for chips that lie in several.

    Blocks are drawn in a random order and given to the part that lacks most chips, so the shares are met as
    well as blocks allow.

    Parameters
    ----------
    corners
        (n, 4, 2) column and row of each chip's corners on one grid for all sources; see :func:`on_lattice`.
    """
    low = np.floor((corners.min(axis=1) - SPARE) / split.block).astype(np.int64)  # (chip, across down)
    high = np.floor((corners.max(axis=1) + SPARE) / split.block).astype(np.int64)
    middle = np.floor(corners.mean(axis=1) / split.block).astype(np.int64)
    spans = (high - low).max(axis=0) + 1
    touched = [
        np.minimum(low + np.array([across, down]), high)
        for across in range(spans[0])
        for down in range(spans[1])
    ]
    blocks, index = np.unique(np.concatenate([middle, *touched]), axis=0, return_inverse=True)
    index = index.reshape(len(touched) + 1, len(corners))
    weights = np.bincount(index[0], minlength=len(blocks))
    parts = _drawn(weights, split)
    own = parts[index[0]]
    agreed = ((parts[index[1:]] == own) | (weights[index[1:]] == 0)).all(axis=0)
    parts = _adopted(parts, weights == 0, index[1:, agreed], own[agreed])
    return np.where((parts[index[1:]] == own).all(axis=0), own, 0).astype(np.uint8)


def on_lattice(places: np.ndarray, grid: Grid, lattice: Grid) -> np.ndarray:
    """Columns and rows on ``lattice``, beyond its edges too, of places (n, 4, 2) in a grid's CRS.

    Raises
    ------
    CrsError
        If they lie where the lattice's CRS cannot reach.
    """
    xs, ys = places[..., 0].ravel(), places[..., 1].ravel()
    if not same_crs(grid.crs, lattice.crs):
        try:
            with Env():
                xs, ys = (np.asarray(v) for v in transform(grid.crs, lattice.crs, xs, ys))
        except FAILURES:
            xs = np.full_like(xs, np.nan)
        if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
            raise CrsError(
                "split needs all rasters on one ground, and these lie too far apart for one coordinate "
                "reference system: export them by themselves."
            )
    a, b, c, d, e, f = tuple(~lattice.affine)[:6]
    return np.stack([a * xs + b * ys + c, d * xs + e * ys + f], axis=-1).reshape(places.shape)


def _drawn(weights: np.ndarray, split: Split) -> np.ndarray:
    """The part of each block, by the chips whose middle it holds; in an order that the seed decides."""
    generator = np.random.default_rng(split.seed)
    shares = np.array(split.shares)
    parts = generator.choice(len(shares), len(weights), p=shares)  # stays for blocks without chips
    wanted, given = shares * weights.sum(), np.zeros(len(shares))
    for block in generator.permutation(len(weights)).tolist():
        if weights[block]:
            part = int(np.argmax(np.where(shares > 0, wanted - given, -np.inf)))
            given[part] += weights[block]
            parts[block] = part
    return np.asarray(parts + 1)


def _adopted(parts: np.ndarray, empty: np.ndarray, touched: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Give blocks that hold no chip's middle, as beyond a raster's edge, to the one part that reaches there.

    ``touched`` (block touched, chip) are the blocks that chips of the parts ``own`` (chip,) reach.
    """
    lowest, highest = np.full(len(parts), len(SPLITS)), np.zeros(len(parts), np.int64)
    for reached in touched:
        np.minimum.at(lowest, reached, own)
        np.maximum.at(highest, reached, own)
    return np.where(empty & (lowest == highest), lowest, parts)


def _shares(split: Any) -> list[float]:
    try:
        if isinstance(split, Mapping):
            unknown = set(split) - set(_NAMES)
            if unknown:
                raise SettingError(
                    f"split has no part {sorted(unknown, key=str)[0]!r}: its parts are {', '.join(_NAMES)}."
                )
            return [float(split.get(name, 0.0)) for name in _NAMES]
        shares = [float(text) for text in str(split).split("/")]
    except (TypeError, ValueError) as error:
        if isinstance(error, SettingError):
            raise
        shares = []
    if len(shares) not in (2, 3):
        raise SettingError(
            f'split={split!r} cannot be read: give {{"train": 0.8, "val": 0.1, "test": 0.1}} or "80/10/10".'
        )
    return [*shares, *[0.0] * (3 - len(shares))]
