"""Which chips train and which validate."""

import numpy as np

from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.datasets.sources import ChipSource

_BLOCK = 256
"""Masks looked at together when classes are balanced: one shard of the store."""


def split_chips(
    source: ChipSource, *, share: float, seed: int, stratify: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Part the chips into a training and a validation set.

    Chips that the store itself marks ``val`` validate and those marked ``train`` train; any other mark, such
    as ``test``, keeps a chip out of both. A store without ``val`` is parted by lot.

    Parameters
    ----------
    share
        Part of the chips to validate with, between 0 and 1; at least one chip on each side.
    seed
        The same seed parts the same chips the same way.
    stratify
        Draw from each class in proportion. A chip counts for the rarest class that occurs in it.

    Returns
    -------
    tuple of numpy.ndarray
        Training and validation positions, each ascending.

    Raises
    ------
    SettingError
        If the share cannot work.
    StoreError
        If there are not at least one chip to train and one to validate with.
    """
    if not 0 < share < 1:
        raise SettingError(
            f"val_split_pct={share} leaves one side empty: use a number between 0 and 1, say 0.1."
        )
    if (source.split == "val").any():
        train, valid = np.flatnonzero(source.split == "train"), np.flatnonzero(source.split == "val")
    else:
        train, valid = _by_lot(source, share=share, seed=seed, stratify=stratify)
    if not (len(train) and len(valid)):
        raise StoreError(
            f"{len(source)} chips give {len(train)} to train and {len(valid)} to validate with: "
            "export more chips, with a smaller tile_size or stride_size."
        )
    return train, valid


def _by_lot(source: ChipSource, *, share: float, seed: int, stratify: bool) -> tuple[np.ndarray, np.ndarray]:
    groups = _rarest_class(source) if stratify else np.zeros(len(source), np.int64)
    rng = np.random.default_rng(seed)
    ranks = np.empty(len(source))  # place of each chip within its group, 0..1
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        ranks[rng.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    count = min(max(1, round(len(source) * share)), len(source) - 1)
    # The lowest ranks over all groups: each gives its share, and the total is exact.
    valid = np.sort(np.argsort(ranks, kind="stable")[: max(count, 0)])
    return np.setdiff1d(np.arange(len(source)), valid), valid


def _rarest_class(source: ChipSource) -> np.ndarray:
    """(N,) value of the rarest class in each chip, by its pixels over the whole source."""
    by_rarity = sorted(source.class_pixels, key=lambda value: (source.class_pixels[value], value))
    place = {value: rank for rank, value in enumerate(by_rarity)}
    rarest = np.zeros(len(source), np.int64)
    for start in range(0, len(source), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(source)))
        for chip, mask in zip(block, source.masks(block), strict=True):
            rarest[chip] = min((int(v) for v in np.unique(mask)), key=lambda v: place.get(v, len(place)))
    return rarest
