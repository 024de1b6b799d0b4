"""Which chips train and which validate."""

import numpy as np

from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.datasets.sources import ChipSource


def split_chips(
    source: ChipSource,
    *,
    share: float,
    seed: int,
    presence: np.ndarray | None = None,
    wanted: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Part the chips into a training and a validation set.

    Chips that the store itself marks ``val`` validate and those marked ``train`` train; any other mark, such
    as ``test``, keeps a chip out of both. Where none is marked ``val``, all but ``test`` are parted by lot.

    Parameters
    ----------
    share
        Part of the chips to validate with, between 0 and 1; at least one chip on each side.
    seed
        The same seed parts the same chips the same way.
    presence
        (N, k) whether each class occurs in each chip: draw from each in proportion. A chip counts for the
        rarest class that occurs in it. None draws from all chips alike.
    wanted
        (N,) whether a chip takes part; None takes all.

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
    chips = np.arange(len(source)) if wanted is None else np.flatnonzero(wanted)
    marks = source.split[chips]
    if (marks == "val").any():
        train, valid = chips[marks == "train"], chips[marks == "val"]
    else:
        # chips that are set aside for a test stay aside
        chips = chips[marks != "test"]
        groups = None if presence is None else _rarest_class(presence[chips])
        train, valid = _by_lot(chips, share=share, seed=seed, groups=groups)
    if not (len(train) and len(valid)):
        raise StoreError(
            f"{len(source)} chips give {len(train)} to train and {len(valid)} to validate with: "
            "export more chips, with a smaller tile_size or stride_size."
        )
    return train, valid


def _by_lot(
    chips: np.ndarray, *, share: float, seed: int, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    groups = np.zeros(len(chips), np.int64) if groups is None else groups
    rng = np.random.default_rng(seed)
    ranks = np.empty(len(chips))  # place of each chip within its group, 0..1
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        ranks[rng.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    count = min(max(1, round(len(chips) * share)), len(chips) - 1)
    # The lowest ranks over all groups: each gives its share, and the total is exact.
    valid = np.sort(np.argsort(ranks, kind="stable")[: max(count, 0)])
    return chips[np.setdiff1d(np.arange(len(chips)), valid)], chips[valid]


def _rarest_class(presence: np.ndarray) -> np.ndarray:
    """(n,) column of the class in each chip that the fewest chips have; one past the last for none."""
    by_rarity = np.argsort(presence.sum(axis=0), kind="stable")
    first = presence[:, by_rarity].argmax(axis=1)
    return np.where(presence.any(axis=1), by_rarity[first], presence.shape[1])
